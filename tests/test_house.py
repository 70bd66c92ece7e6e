"""The house's rules, held by reading the tree. Nothing here imports Keras."""

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from hornbook import recipe_index
from hornbook.errors import InputError

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
REGISTERED = "keras.saving.register_keras_serializable(package='hornbook')"
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
    if within(name, ["hornbook.errors"]):
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
            needs = re.search(
                r"^Needs:(.*(\n +.*)*)", ast.get_docstring(tree) or "", re.M
            )
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
        problems = import_problems(ROOT)
        assert not problems, "\n".join(problems)

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
            (
                "recipes/layers/a.py",
                '"""Needs: tensorflow"""\nimport tensorflow',
                False,
            ),
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
            ("src/hornbook/a.py", "from hornbook import recipe_index", False),
            ("src/hornbook/a.py", "from hornbook.errors import E", False),
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


def modules(name):
    """The packages that hold a file of this name, such as `*.py`."""
    return sorted(
        {
            ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
            for package, folder in FOLDERS.items()
            for path in (ROOT / folder).rglob(name)
        }
    )


def test_packages_are_listed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"][
        "setuptools"
    ]
    assert settings["package-dir"] == FOLDERS
    assert sorted(settings["packages"]) == modules("__init__.py")
    assert modules("*.py") == modules("__init__.py")


def must_be_registered(node):
    """Whether a `.keras` file can hold objects of a class."""
    bases = [ast.unparse(each) for each in node.bases]
    if any(each.startswith(("keras.callbacks.", "keras.utils.")) for each in bases):
        return False
    methods = [each.name for each in node.body if isinstance(each, ast.FunctionDef)]
    return "get_config" in methods or any(each.startswith("keras.") for each in bases)


def exports(init, package):
    """What an `__init__.py` imports, from name to module."""
    tree = ast.parse(init.read_text(encoding="utf-8"))
    names = [name.rpartition(".") for name, _, _ in imports(tree, package)]
    return {name: module for module, _, name in names}


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
    exported = exports(path.parent / "__init__.py", recipe.module.rpartition(".")[0])
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
        imported = exports(RECIPES / "__init__.py", "hornbook.recipes")
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


def files_of_the_project(root):
    """Every file that git has or would take, or simply all where there is no git."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        return [root / name for name in done.stdout.split("\0") if name]
    return [path for path in root.rglob("*") if path.is_file()]


def lines_with_machine_paths(root):
    """Where files name a folder that only one machine has, as `file:line`."""
    machine = re.compile(r"(?<![\w.~-])/(?:home|root|Users|work)/\w")
    for path in files_of_the_project(root):
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            for number, line in enumerate(content.decode().splitlines(), 1):
                if machine.search(line) or str(ROOT) in line:
                    yield f"{path.relative_to(root)}:{number}"


def test_no_file_names_a_path_of_one_machine():
    found = list(lines_with_machine_paths(ROOT))
    assert not found, "\n".join(found)


def test_machine_paths_are_found(tmp_path):
    home = "/ho" + "me/someone/data"
    (tmp_path / "a.md").write_text(f"fine\nsee {home}\n")
    (tmp_path / "b.py").write_text(f"PATH = '{ROOT}'\n")
    (tmp_path / "c.md").write_text(f"https://example.org{home}, ~{home}, work/here\n")
    (tmp_path / "d.h5").write_bytes(home.encode() + b"\0")
    assert sorted(lines_with_machine_paths(tmp_path)) == ["a.md:2", "b.py:1"]


@pytest.mark.slow
def test_wheel(tmp_path):
    """A wheel holds all of ours under one name, and works where it is unpacked."""
    checkout, wheels, site = (
        tmp_path / "checkout",
        tmp_path / "wheels",
        tmp_path / "site",
    )
    shipped = set()
    for package, folder in FOLDERS.items():
        ignore = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / folder, checkout / folder, ignore=ignore)
        inside = package.replace(".", "/")
        shipped |= {
            f"{inside}/{path.relative_to(checkout / folder).as_posix()}"
            for path in (checkout / folder).rglob("*")
            if path.is_file()
        }
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)

    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", wheels, checkout]
    if int(importlib.metadata.version("setuptools").partition(".")[0]) >= 77:
        build.append("--no-build-isolation")
    subprocess.run(build, check=True)
    (wheel,) = wheels.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        names = set(archive.namelist())

    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"hornbook"}
    assert {name for name in names if name.startswith("hornbook/")} == shipped
    for ending in (".weights.h5", ".json", ".html.j2"):
        assert any(name.endswith(ending) for name in shipped)

    done = subprocess.run(
        [sys.executable, "-m", "hornbook", "list", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    listed = json.loads(done.stdout)
    assert len(listed) == len(recipe_index.files(RECIPES))
    assert all(Path(each["path"]).is_relative_to(site) for each in listed)
