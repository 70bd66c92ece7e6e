"""What the guides and the notes tell people to type is what there is."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from hornbook import recipe_index
from hornbook.cli import app

ROOT = Path(__file__).parents[3]
SITE = ROOT / "docs/site"
GUIDES = sorted((SITE / "guides").glob("*.md"))
NOTES = tomllib.loads((SITE / "notes.toml").read_text())["chapter"]
SNIPPETS = {
    entry["heading"]: entry["code"]
    for chapter in NOTES
    for entry in (chapter, *chapter.get("section", ()))
    if "code" in entry
}


def typed():
    """Each `hornbook` command that a guide or a page shows, as a list of words."""
    for path in (*GUIDES, SITE / "templates/front.md"):
        text = path.read_text().replace(r"\n", "\n").replace('{{ "', "\n")
        for line in re.findall(r"(?:\$ |`)(hornbook [^`\n\"]+)", text):
            yield path.name, line


def commands():
    """Each command of the command line with its options."""

    def walk(name, command):
        if hasattr(command, "commands"):
            for each, inner in command.commands.items():
                yield from walk((*name, each), inner)
        else:
            yield name, {opt for p in command.params for opt in p.opts}

    return dict(walk((), typer.main.get_command(app)))


def test_the_guides_show_commands():
    assert len(list(typed())) > 20


@pytest.mark.parametrize(("guide", "line"), typed(), ids=lambda each: each[:50])
def test_a_command_is_one_and_has_these_options(guide, line):
    known = commands()
    words = shlex.split(line.partition("#")[0])[1:]
    name = tuple(words[:2]) if tuple(words[:2]) in known else tuple(words[:1])
    if words[0] == "--help":
        return
    assert name in known, line
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in known[name] | {"--help"}, line


def test_a_recipe_that_is_named_in_a_command_exists():
    named = {
        word
        for _, line in typed()
        if line.split()[1] in ("copy", "show", "diff")
        for word in line.split()[2:3]
    }
    assert named
    for name in named:
        recipe_index.find(name)


def test_options_that_the_guides_mention_exist():
    options = {opt for known in commands().values() for opt in known}
    for path in GUIDES:
        if path.name == "moving.md":
            continue  # It names other programs' options.
        for option in re.findall(r"`(--[a-z-]+)[ `]", path.read_text()):
            assert option in options, (path.name, option)


@pytest.mark.slow
@pytest.mark.parametrize("heading", SNIPPETS)
def test_the_code_beside_a_heading_runs(heading, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(SNIPPETS[heading], heading, "exec"), names)
    assert names.keys() > {"__builtins__"}


@pytest.mark.slow
def test_the_review_of_the_guide_names_both_faults(capsys):
    blocks = re.findall(
        r"```python\n(.*?)```", (SITE / "guides/doctor.md").read_text(), re.S
    )
    exec(next(block for block in blocks if "review(model)" in block), {})
    rules = [line.partition(" ")[0] for line in capsys.readouterr().out.splitlines()]
    assert rules == ["saturating_activation", "logits"]
