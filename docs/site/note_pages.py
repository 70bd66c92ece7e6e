"""The study notes, chapter by chapter, with the corrections and the code that runs."""

import functools
import re
import tomllib
from pathlib import Path

import measured
import study_pages
from words import fill

from hornbook import recipe_index

NOTES = Path(__file__).with_name("notes.toml")


@functools.cache
def chapters():
    """The outline, as `notes.toml` has it."""
    return tomllib.loads(NOTES.read_text(encoding="utf-8"))["chapter"]


def headings():
    """Yields each heading as `(chapter, entry)`; a chapter is its own first entry."""
    for chapter in chapters():
        yield chapter, chapter
        for section in chapter.get("section", ()):
            yield chapter, section


def anchor(heading):
    """The id that a heading has on its page."""
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def headings_of(recipe):
    """Where the notes speak of a recipe: pairs of a link and a heading."""
    found = []
    for chapter, entry in headings():
        if recipe in entry.get("recipes", ()) and entry is not chapter:
            link = f"notes/{chapter['slug']}.html#{anchor(entry['heading'])}"
            found.append((link, entry["heading"]))
    return found


def studies_of(entry):
    """The studies of a heading: those that name it in their header, and those named."""
    names = {
        entry["heading"].lower(),
        *(each.lower() for each in entry.get("called", ())),
    }
    naming = [
        study
        for study in measured.names()
        if names & {each.lower() for each in study_pages.sections(study)}
    ]
    return list(dict.fromkeys([*entry.get("studies", ()), *naming]))


def pages():
    """Yields the path and the text of each page."""
    recipes = {recipe.name: recipe for recipe in recipe_index.recipes()}
    studies = {}
    for name in measured.names():
        title = study_pages.header(name)[0]
        studies[name] = {"title": title, "verdict": measured.read(name).verdict}
    values = {"recipes": recipes, "studies": studies, "studies_of": studies_of}
    for chapter in chapters():
        yield f"notes/{chapter['slug']}.md", fill("notes.md", chapter=chapter, **values)
    yield "notes/index.md", fill("outline.md", chapters=chapters(), anchor=anchor)
