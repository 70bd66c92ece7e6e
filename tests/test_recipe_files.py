"""Each recipe's file is complete, held by reading it. Nothing here imports Keras."""

import ast
import re
from pathlib import Path

import pytest

from hornbook import recipe_index
from hornbook.errors import InputError

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes"
REGISTERED = "keras.saving.register_keras_serializable(package='hornbook')"


def must_be_registered(node):
    """Whether a `.keras` file can hold objects of a class."""
    bases = [ast.unparse(each) for each in node.bases]
    if any(each.startswith(("keras.callbacks.", "keras.utils.")) for each in bases):
        return False
    methods = [each.name for each in node.body if isinstance(each, ast.FunctionDef)]
    return "get_config" in methods or any(each.startswith("keras.") for each in bases)


def exports(init):
    """What an `__init__.py` imports, from name to module."""
    tree = ast.parse(init.read_text(encoding="utf-8"))
    return {
        each.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    }


def lines_of_code(text):
    """How many lines there are besides docstrings and empty ones."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    prose = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            prose.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(bool(line.strip()) and number not in prose for number, line in lines)


def recipe_problems(path, root):
    """What the recipe in a file lacks, as sentences."""
    try:
        recipe = recipe_index.read(path)
    except InputError as error:
        return [str(error)]
    where = path.relative_to(root)
    text = path.read_text(encoding="utf-8")
    names = [each.name for each in recipe.objects]
    exported = exports(path.parent / "__init__.py")
    test = root / "tests/recipes" / recipe.category / f"test_{recipe.name}.py"

    problems = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name in names:
            decorators = [ast.unparse(each) for each in node.decorator_list]
            if must_be_registered(node) and REGISTERED not in decorators:
                problems.append(f"{where}: {node.name} is not registered with Keras")
    for each in recipe.objects:
        if exported.get(each.name) != recipe.module:
            problems.append(f"{where}: {each.name} is not exported by its category")
        if not each.summary:
            problems.append(f"{where}: {each.name} has no docstring")
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", recipe.name):
        problems.append(f"{where}: the file is not named in snake_case")
    if lines_of_code(text) >= 250:
        problems.append(f"{where}: the file has 250 lines of code or more")
    if not test.exists():
        problems.append(f"{where}: there is no {test.relative_to(root)}")
    return problems


class TestRecipes:
    THING = '''\
# SPDX-License-Identifier: Apache-2.0
"""Thing: an idea.

What:    a thing.
When:    always.
Not for: anything else.
Source:  nobody.
Needs:   keras>=3.
"""

import keras


@keras.saving.register_keras_serializable(package="hornbook")
class Thing(keras.layers.Layer):
    """A thing."""
'''

    def test_each_is_complete(self):
        files = recipe_index.files(RECIPES)
        problems = [each for path in files for each in recipe_problems(path, ROOT)]
        assert files
        assert not problems, "\n".join(problems)

    def test_every_category_is_imported(self):
        categories = {path.parent.name for path in RECIPES.glob("*/__init__.py")}
        imported = exports(RECIPES / "__init__.py")
        assert categories == set(imported)

    def test_no_two_share_a_name(self):
        # Copies lie in one folder, whatever their category.
        names = [
            name
            for recipe in recipe_index.recipes(RECIPES)
            for name in {recipe.name, *(each.name for each in recipe.objects)}
        ]
        assert len(names) == len(set(names))

    @pytest.fixture
    def thing(self, tmp_path):
        """The file of a recipe that lacks nothing, in a checkout of its own."""
        path = tmp_path / "recipes/layers/thing.py"
        path.parent.mkdir(parents=True)
        path.write_text(self.THING)
        init = path.with_name("__init__.py")
        init.write_text("from hornbook.recipes.layers.thing import Thing\n")
        test = tmp_path / "tests/recipes/layers/test_thing.py"
        test.parent.mkdir(parents=True)
        test.touch()
        return path

    def test_nothing_lacks(self, tmp_path, thing):
        assert recipe_problems(thing, tmp_path) == []

    @pytest.mark.parametrize(
        ("old", "new", "problem"),
        [
            ("# SPDX", "# Spdx", "SPDX-License-Identifier"),
            ("Needs:   keras>=3.\n", "", "no `Needs:`"),
            ("class Thing", "class Other", "has the file's name"),
            ('(package="hornbook")', "()", "not registered"),
            ("@keras.saving", "# @keras.saving", "not registered"),
            (
                "class Thing",
                "class Other:\n    '.'\n\n\nclass Thing",
                "Other is not ex",
            ),
            ('    """A thing."""', "    pass", "no docstring"),
            ("\n\n\n@", "\n" + "a = 0\n" * 250 + "@", "250 lines"),
        ],
    )
    def test_what_lacks_is_named(self, tmp_path, thing, old, new, problem):
        assert old in self.THING
        thing.write_text(self.THING.replace(old, new))
        problems = recipe_problems(thing, tmp_path)
        assert problem in " ".join(problems)

    def test_callback_need_not_be_registered(self, tmp_path, thing):
        text = self.THING.replace("keras.layers.Layer", "keras.callbacks.Callback")
        thing.write_text(text.replace("@keras.saving", "# @keras.saving"))
        assert recipe_problems(thing, tmp_path) == []

    def test_missing_test_and_odd_name(self, tmp_path, thing):
        odd = thing.rename(thing.with_name("Thing.py"))
        problems = " ".join(recipe_problems(odd, tmp_path))
        assert "there is no tests/recipes/layers/test_Thing.py" in problems
        assert "snake_case" in problems
