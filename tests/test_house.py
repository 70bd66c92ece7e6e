"""The house's rules, held by reading the tree. Nothing here imports Keras."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from hornbook import catalog

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes"
FOLDERS = {
    "hornbook": "src/hornbook",
    "hornbook.recipes": "recipes",
    "hornbook.tuning": "tuning",
    "hornbook.zoo": "zoo",
}
# What of ours each package may import. For the command line see `may_import`.
MAY = {
    "hornbook.recipes": ["hornbook.recipes"],
    "hornbook.zoo": ["hornbook.recipes", "hornbook.zoo"],
    "hornbook.tuning": ["hornbook.recipes", "hornbook.zoo", "hornbook.tuning"],
}
OURS = {"hornbook", "recipes", "zoo", "tuning", "studies", "benchmarks"}
# What the command line may import before it knows which command will run.
LIGHT = {*sys.stdlib_module_names, "typer", "rich"}


def within(name, packages):
    """Whether a dotted name is one of the packages or lies in one."""
    return any(name == each or name.startswith(f"{each}.") for each in packages)


def imports(tree, package):
    """The imports of a module.

    Args:
        tree: Its syntax tree.
        package: Dotted name of the package it is in, to resolve relative imports.

    Yields:
        The dotted name, the line, and whether the module's own import triggers it.
        A dynamic import whose name is computed counts as one of "?".
    """
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    lazy = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, functions)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) + 1 - node.level] if node.level else []
            base = ".".join([*base, *filter(None, [node.module])])
            names = [f"{base}.{each.name}" for each in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("__import__", "import_module")
        ):
            literal = node.args and isinstance(node.args[0], ast.Constant)
            names = [node.args[0].value if literal else "?"]
        for name in names:
            yield name, node.lineno, id(node) not in lazy


def may_import(name, package, *, at_once=True, is_recipe=False, needs=""):
    """Whether a module of one of our packages may import a name."""
    top = name.partition(".")[0]
    if within(name, ["keras.src"]):
        return False
    if is_recipe:
        named = re.findall(r"\w+", needs)
        return top in {"keras", "numpy", *named, *sys.stdlib_module_names} - OURS
    if package != "hornbook":
        return top not in OURS or within(name, MAY[package])
    if within(name, ["hornbook.zoo.errors"]):
        return True
    if within(name, ["hornbook.zoo", "hornbook.tuning"]):
        return not at_once
    if top in OURS:
        return top == "hornbook" and not within(name, ["hornbook.recipes"])
    return not at_once or top in LIGHT


def import_problems(root):
    """Every import below a checkout that breaks a rule, as `file:line: name`."""
    problems = []
    for package, folder in FOLDERS.items():
        for path in sorted((root / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            inner = path.parent.relative_to(root / folder).parts
            is_recipe = package == "hornbook.recipes" and path.name != "__init__.py"
            needs = re.search(r"^Needs:(.*(\n +.*)*)", ast.get_docstring(tree) or "", re.M)
            found = [
                (line, name)
                for name, line, at_once in imports(tree, ".".join([package, *inner]))
                if not may_import(
                    name,
                    package,
                    at_once=at_once,
                    is_recipe=is_recipe,
                    needs=needs[1] if needs else "",
                )
            ]
            found += [
                (node.lineno, "keras.src")
                for node in ast.walk(tree)
                if isinstance(node, ast.Attribute) and ast.unparse(node) == "keras.src"
            ]
            where = path.relative_to(root)
            problems += [f"{where}:{line}: {name}" for line, name in sorted(found)]
    return problems


class TestImports:
    def test_everyone_imports_only_what_they_may(self):
        assert import_problems(ROOT) == []

    @pytest.mark.parametrize(
        ("path", "text", "breaks"),
        [
            ("recipes/layers/a.py", "import keras, math, numpy as np", False),
            ("recipes/layers/a.py", "from keras import ops", False),
            ("recipes/layers/a.py", "import hornbook", True),
            ("recipes/layers/a.py", "from hornbook.recipes.layers import b", True),
            ("recipes/layers/a.py", "from .b import B", True),
            ("recipes/layers/a.py", "from recipes.layers.b import B", True),
            ("recipes/layers/a.py", "def f():\n    import scipy", True),
            ("recipes/layers/a.py", "def f():\n    import tensorflow", True),
            ("recipes/layers/a.py", '"""Needs: tensorflow"""\nimport tensorflow', False),
            ("recipes/layers/a.py", '"""Needs: hornbook"""\nimport hornbook', True),
            ("recipes/layers/a.py", "import keras.src.layers", True),
            ("recipes/layers/a.py", "from keras import src", True),
            ("recipes/layers/a.py", "import keras\nkeras.src.ops", True),
            ("recipes/layers/a.py", "__import__('hornbook')", True),
            ("recipes/layers/a.py", "importlib.import_module(name)", True),
            ("recipes/layers/__init__.py", "from .b import B", False),
            ("recipes/layers/__init__.py", "from hornbook.zoo import b", True),
            ("zoo/a.py", "from hornbook.recipes import layers", False),
            ("zoo/data/a.py", "from ..errors import InputError", False),
            ("zoo/data/a.py", "from ...tuning import a", True),
            ("zoo/a.py", "from hornbook import tuning", True),
            ("zoo/a.py", "from hornbook.tuning import a", True),
            ("zoo/a.py", "from hornbook.cli import app", True),
            ("zoo/a.py", "def f():\n    import studies", True),
            ("zoo/a.py", "from keras.src import backend", True),
            ("tuning/a.py", "from hornbook.zoo.data import a", False),
            ("tuning/a.py", "import benchmarks.layers", True),
            ("tuning/a.py", "from zoo import data", True),
            ("src/hornbook/a.py", "import typer, json", False),
            ("src/hornbook/a.py", "from hornbook import catalog", False),
            ("src/hornbook/a.py", "from hornbook.zoo.errors import E", False),
            ("src/hornbook/a.py", "from hornbook.zoo import finetune", True),
            ("src/hornbook/a.py", "def f():\n    import hornbook.zoo", False),
            ("src/hornbook/a.py", "def f():\n    import hornbook.tuning, keras", False),
            ("src/hornbook/a.py", "def f():\n    import hornbook.recipes", True),
            ("src/hornbook/a.py", "class A:\n    import hornbook.tuning", True),
            ("src/hornbook/a.py", "import numpy", True),
        ],
    )
    def test_rule(self, tmp_path, path, text, breaks):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
        assert bool(import_problems(tmp_path)) == breaks


def test_packages_are_listed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["package-dir"] == FOLDERS
    there = {
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
        for package, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    assert sorted(settings["packages"]) == sorted(there)
    with_init = {
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
        for package, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert there == with_init


def is_registered(node):
    """Whether a class is registered with Keras under our package's name."""
    wanted = "keras.saving.register_keras_serializable(package='hornbook')"
    return wanted in [ast.unparse(each) for each in node.decorator_list]


def is_keras_object(node):
    return any(ast.unparse(each).startswith("keras.") for each in node.bases)


def exported(init):
    """What an `__init__.py` imports: name to the module that it is from."""
    package = f"hornbook.recipes.{init.parent.name}"
    tree = ast.parse(init.read_text(encoding="utf-8"))
    names = (name.rpartition(".") for name, _, _ in imports(tree, package))
    return {name: module for module, _, name in names}


def recipe_problems(path, root):
    """What a recipe's file lacks; its header is the catalog's to judge."""
    recipe = catalog.read(path)
    text = path.read_text(encoding="utf-8")
    if (lines := text.count("\n")) >= 250:
        yield f"has {lines} lines, not fewer than 250"
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", path.stem):
        yield "is not named in snake_case"
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        if is_keras_object(node) and not is_registered(node):
            yield f"{node.name} is not registered with package='hornbook'"
    for each in recipe.objects:
        if not each.summary:
            yield f"{each.name} has no docstring"
    names = exported(path.parent / "__init__.py")
    for each in recipe.objects:
        if names.get(each.name) != recipe.module:
            yield f"{each.name} is not exported by {recipe.category}/__init__.py"
    test = root / "tests" / "recipes" / recipe.category / f"test_{recipe.name}.py"
    if not test.exists():
        yield f"has no {test.relative_to(root)}"
