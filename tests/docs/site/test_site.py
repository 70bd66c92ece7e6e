"""The site is built from what is there, whole, and twice the same."""

import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from hornbook import recipe_index

pytestmark = pytest.mark.heavy  # Sphinx
ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "docs/site"
NOTES = tomllib.loads((SOURCES / "notes.toml").read_text())["chapter"]
HEADINGS = [entry for each in NOTES for entry in (each, *each.get("section", ()))]


class Page(HTMLParser):
    """What a page links to, shows and lacks."""

    def __init__(self, path):
        super().__init__()
        self.path, self.links, self.ids, self.words = path, [], set(), []
        self.tags, self.lang, self.pictures, self.stack = Counter(), None, [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags[tag] += 1
        self.stack.append(tag)
        if "id" in attrs:
            self.ids.add(attrs["id"])
        if tag == "html":
            self.lang = attrs.get("lang")
        if tag == "img":
            self.pictures.append(attrs.get("alt"))
        for name in ("href", "src", "action"):
            if attrs.get(name) and tag != "use":
                self.links.append(attrs[name])

    def handle_data(self, data):
        if self.stack and self.stack[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def build(folder):
    """Builds the site with the command that `make docs` has."""
    command = [sys.executable, str(SOURCES / "build.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return build(tmp_path_factory.mktemp("docs") / "site")


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_no_link_or_picture_is_broken(site, pages):
    broken = []
    for page in pages.values():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme:
                assert url.scheme == "https", link
                continue
            target = page.path
            if url.path:
                target = (page.path.parent / unquote(url.path)).resolve()
            missing = not target.is_file()
            lost = (
                url.fragment
                and not missing
                and url.fragment not in (pages[target].ids if target in pages else ())
            )
            if missing or lost:
                broken.append(f"{page.path.relative_to(site)}: {link}")
    assert not broken, "\n".join(broken)


def test_nothing_is_loaded_from_elsewhere(site, pages):
    for path in (*pages, *site.rglob("*.css"), site / "_static/site.js"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?:src=[\"']|url\(|@import\s+[\"'])(?:https?:)?//", text)


def test_each_page_is_whole(pages):
    for page in pages.values():
        where = page.path
        assert page.lang == "en", where
        assert page.tags["title"] == page.tags["h1"] == page.tags["main"] == 1, where
        assert all(page.pictures), where
        for left in ("{{", "Undefined", "```", "{raw}"):
            assert left not in page.text, where


def test_titles_differ(pages):
    titles = Counter(
        re.search(r"<title>(.*?)</title>", path.read_text(), re.S)[1] for path in pages
    )
    assert max(titles.values()) == 1, titles.most_common(3)


@pytest.mark.parametrize("recipe", recipe_index.recipes(), ids=lambda each: each.name)
def test_a_recipe_has_its_page_and_its_card(site, pages, recipe):
    page = pages[site / f"recipes/{recipe.name}.html"]
    assert f"hornbook copy {recipe.name}" in page.text
    assert recipe.evidence.partition(":")[0] in page.text
    for part in ("Use it", "Evidence", "Reference", "The file"):
        assert part in page.text
    assert recipe.import_line.split()[1] in page.text
    code = "".join(page.words)
    assert recipe.path.read_text().splitlines()[-1].strip() in code
    assert f"{recipe.name}.html" in pages[site / "recipes/index.html"].links


def test_a_recipe_shows_its_study(site, pages):
    page = pages[site / "recipes/random_crop.html"]
    study = json.loads((ROOT / "docs/studies/augmentation_ladder.json").read_text())
    for arm, row in study["arms"].items():
        assert arm in page.text
        assert f"{row['mean']:.1f} ± {row['sd']:.1f}" in page.text
    assert study["because"].split(";")[0] in page.text.replace("−", "-")
    assert "../evidence/augmentation_ladder.png" in page.links


def test_each_study_has_its_page(site, pages):
    for path in (ROOT / "docs/studies").glob("*.json"):
        study = json.loads(path.read_text())
        if isinstance(study, dict):
            page = pages[site / f"evidence/{path.stem}.html"]
            assert study.get("verdict", "") in page.text
            assert study.get("command", path.stem) in page.text


def test_each_card_of_the_zoo_has_its_page(site, pages):
    for path in (ROOT / "zoo/cards").glob("*.json"):
        card = json.loads(path.read_text())
        assert card["sha256"] in pages[site / f"zoo/{card['id']}.html"].text


def test_each_heading_of_the_notes_leads_to_code_that_runs(site, pages):
    """In two clicks: from the outline to the heading, from there to a recipe."""
    outline = pages[site / "notes/index.html"]
    known = {recipe.name for recipe in recipe_index.recipes()}
    assert len(HEADINGS) >= 36
    for chapter in NOTES:
        page = pages[site / f"notes/{chapter['slug']}.html"]
        for entry in (chapter, *chapter.get("section", ())):
            slug = re.sub(r"[^a-z0-9]+", "-", entry["heading"].lower()).strip("-")
            link = f"{chapter['slug']}.html" + ("" if entry is chapter else f"#{slug}")
            assert link in outline.links, entry["heading"]
            assert slug in page.ids or entry is chapter
            assert entry["says"][:30] in page.text
            recipes = entry.get("recipes", [])
            assert set(recipes) <= known, entry["heading"]
            assert recipes or entry.get("code"), entry["heading"]
            for name in recipes:
                assert f"../recipes/{name}.html" in page.links
            for name in entry.get("studies", []):
                assert f"../evidence/{name}.html" in page.links


def test_a_study_of_the_notes_is_linked_from_its_heading(site, pages):
    links = {
        link
        for path, page in pages.items()
        if path.parent.name == "notes"
        for link in page.links
    }
    for path in (ROOT / "docs/studies").glob("*.json"):
        script = ROOT / f"studies/{path.stem}.py"
        if script.is_file() and "the study notes" in script.read_text():
            assert f"../evidence/{path.stem}.html" in links, path.stem


def test_every_recipe_is_reached_from_the_notes_or_told_of_in_the_gallery(site, pages):
    unlinked = {recipe.name for recipe in recipe_index.recipes()} - {
        name for entry in HEADINGS for name in entry.get("recipes", ())
    }
    links = pages[site / "recipes/index.html"].links
    assert all(f"{name}.html" in links for name in unlinked)


def test_the_corrections_are_there(pages, site):
    shown = " ".join(page.text for page in pages.values())
    for formula in ("gain² / n", "√(λ + ε)", "p_test(y) / p_train(y)", "w − ηρv"):
        assert formula in shown
    assert sum("wrong" in entry for entry in HEADINGS) >= 18


def test_words_can_be_searched(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert index.startswith("Search.setIndex(")
    for word in ("whiten", "kaim", "recipes/ten_crop"):
        assert word in index


@pytest.mark.slow
def test_built_twice_it_is_the_same(site, tmp_path):
    again = build(tmp_path / "site")
    names = [path.relative_to(site) for path in site.rglob("*") if path.is_file()]
    assert names
    assert sorted(names) == sorted(
        path.relative_to(again) for path in again.rglob("*") if path.is_file()
    )
    for name in names:
        assert (site / name).read_bytes() == (again / name).read_bytes(), name
