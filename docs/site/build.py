"""Builds the site into build/site.

    python docs/site/build.py [FOLDER]

The pages are written as Markdown into build/docs: the guides as they are, all else from
the recipes' headers, the studies' and benchmarks' JSON, the zoo's cards and docstrings.
Sphinx makes HTML of them, and a warning is an error. Nothing of it is committed, so
nothing of it can be stale; what is, `evidence.json`, is tested.
"""

import shutil
import sys
from pathlib import Path

import front_page
import measured
import note_pages
import recipe_pages
import reference_pages
import study_pages
import zoo_pages
from sphinx.cmd.build import build_main

HERE, ROOT = Path(__file__).parent, measured.ROOT
SOURCE, SITE = ROOT / "build/docs", ROOT / "build/site"
GENERATORS = (
    front_page,
    recipe_pages,
    study_pages,
    note_pages,
    zoo_pages,
    reference_pages,
)


def write(folder):
    """Writes the pages that Sphinx reads.

    Args:
        folder: Where. What is there goes.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "guides", folder / "guides")
    for name in ("optimizers.md", "schedules.md", "schedules.png"):
        shutil.copy(ROOT / "docs" / name, folder / "guides")
    for generator in GENERATORS:
        for name, text in generator.pages():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")


def main(arguments):
    """Builds; returns the exit status."""
    site = Path(arguments[0]) if arguments else SITE
    source = SOURCE if not arguments else site.with_name(f"{site.name}-pages")
    write(source)
    shutil.rmtree(site, ignore_errors=True)
    options = ["-q", "-W", "--keep-going", "-E", "-b", "html", "-c", str(HERE)]
    trees = source.with_name(f"{source.name}-trees")
    status = build_main([*options, "-d", str(trees), str(source), str(site)])
    for path in sorted(measured.STUDIES.glob("*.[ps][nv]g")):
        shutil.copy(path, site / "evidence")
    if status == 0:
        print(f"Open {site / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
