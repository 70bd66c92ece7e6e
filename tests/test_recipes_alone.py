"""Each recipe's own examples run, here and as a copy in a folder without Hornbook."""

import doctest
import importlib
import subprocess
import sys

import keras
import pytest

from hornbook import recipe_index

RECIPES = recipe_index.recipes()

# Runs the doctests of the modules named after "--", from the current folder, after
# making the packages named before it unimportable.
ALONE = """
import doctest, importlib, sys
sys.path.insert(0, "")
split = sys.argv.index("--")
for name in sys.argv[1:split]:
    sys.modules[name] = None
lacking = []
for name in sys.argv[split + 1:]:
    failed, attempted = doctest.testmod(importlib.import_module(name))
    if failed or not attempted:
        lacking.append(name)
sys.exit(f"Failed, or without an example: {lacking}" if lacking else 0)
"""


def run_alone(folder, names, without):
    """Runs the doctests of modules in a folder; gives the finished process."""
    return subprocess.run(
        [sys.executable, "-c", ALONE, *without, "--", *names],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def copy(names, folder):
    """`hornbook copy`, as a user would."""
    subprocess.run(
        [sys.executable, "-m", "hornbook", "copy", *names, "--to", folder], check=True
    )


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_examples_run(recipe):
    failed, attempted = doctest.testmod(importlib.import_module(recipe.module))
    assert attempted > 0
    assert failed == 0


def test_copies_run_without_hornbook(tmp_path):
    names = [recipe.name for recipe in RECIPES]
    copy(names, tmp_path)
    # Off its own backend, TensorFlow is only for those whose header names it.
    may = {recipe.name for recipe in RECIPES if "tensorflow" in recipe.needs}
    if keras.backend.backend() == "tensorflow":
        groups = [(names, ["hornbook"])]
    else:
        others = [name for name in names if name not in may]
        groups = [(sorted(may), ["hornbook"]), (others, ["hornbook", "tensorflow"])]
    for group, without in groups:
        done = run_alone(tmp_path, group, without)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "import hornbook",
        "from hornbook.recipes import layers",
        "import tensorflow",
        '""">>> 1 + 1\n3\n"""',
        '"""No example."""',
    ],
)
def test_what_does_not_stand_alone_fails(tmp_path, text):
    (tmp_path / "dependent.py").write_text(text)
    assert run_alone(tmp_path, ["dependent"], ["hornbook", "tensorflow"]).returncode
    (tmp_path / "alone.py").write_text('""">>> 1 + 1\n2\n"""')
    assert not run_alone(tmp_path, ["alone"], ["hornbook", "tensorflow"]).returncode


def test_the_package_exports_every_recipe():
    package = importlib.import_module("hornbook.recipes")
    for recipe in RECIPES:
        category = getattr(package, recipe.category)
        module = importlib.import_module(recipe.module)
        for each in recipe.objects:
            assert getattr(category, each.name) is getattr(module, each.name)
