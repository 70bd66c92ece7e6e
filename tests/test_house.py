"""The house's rules, held by reading the tree. Nothing here imports Keras."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "hornbook": "src/hornbook",
    "hornbook.recipes": "recipes",
    "hornbook.tuning": "tuning",
    "hornbook.zoo": "zoo",
}
# The folders and root files, bottom to top. A module imports only what stands below it
# or beside it in its folder, so no two folders import each other.
STOREYS = [
    # The ground floor.
    "src/hornbook/errors.py",
    "src/hornbook/fields.py",
    "src/hornbook/files.py",
    "src/hornbook/run_folder.py",
    "src/hornbook/progress.py",
    "src/hornbook/compat.py",
    "src/hornbook/batch_hooks.py",
    "src/hornbook/stats.py",
    "src/hornbook/resource_errors.py",
    "src/hornbook/recipe_index.py",
    "src/hornbook/pages",
    # Recipes stand alone: they import nothing of ours at all.
    "recipes",
    "zoo/keras_file.py",
    "zoo/backbones",
    "zoo/data/arrays",
    "zoo/data/builders",
    "zoo/data/readers",
    "zoo/data",
    "zoo/pretrain.py",
    "zoo/finetune",
    "zoo/doctor",
    "zoo/shift",
    "zoo/share",
    "zoo/runs",
    "tuning/warm",
    "tuning/trials",
    "tuning/executors",
    "tuning/search",
    "tuning/spaces",
    "tuning/report",
    "tuning/runs",
    "src/hornbook/cli",
    "src/hornbook/__main__.py",
]
OURS = {"hornbook", "recipes", "zoo", "tuning", "studies", "benchmarks"}
# What the command line may import before it knows which command will run.
LIGHT = {*sys.stdlib_module_names, "typer", "rich"}
# The fields of a run, from which flags are made; their modules import nothing heavy.
READ_AT_ONCE = ["hornbook.zoo.runs.config"]
MOST_LINES = 400
# Private attributes of others that are read elsewhere than in `compat.py`.
# The first three are keras-tuner's, each beside the subclass that overrides its method.
PRIVATE = {
    "tuning/executors/packing.py": {"_directory", "_display", "_save_trial"},
    "tuning/search/project.py": {
        *("_get_oracle_fname", "_get_trial_dir", "_retry_queue", "_save_trial"),
    },
    "tuning/search/tuner.py": {
        *("_build_and_fit_model", "_build_hypermodel", "_configure_tensorboard_dir"),
        *("_get_tuner_fname", "_max_collisions", "_populate_initial_space"),
        "_retry_queue",
    },
    "tuning/warm/plain_fit.py": {"_distribute_strategy"},  # keras-tuner puts it there
}
# Named tuples and `os` have public names that begin with an underscore.
PUBLIC = {"_asdict", "_exit", "_fields", "_replace"}


def parse(path):
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def files(root, *tops):
    """The Python files below folders of a checkout, all of ours by default."""
    tops = tops or FOLDERS.values()
    return [path for top in tops for path in sorted((root / top).rglob("*.py"))]


def package_of(path, root):
    """The dotted name of the package that a file is in."""
    for package, folder in FOLDERS.items():
        if path.is_relative_to(root / folder):
            return ".".join([package, *path.parent.relative_to(root / folder).parts])
    raise ValueError(path)


def within(name, packages):
    """Whether a dotted name is one of the packages or lies in one."""
    return any(name == each or name.startswith(f"{each}.") for each in packages)


def dynamic_name(call):
    """What a call of `import_module` names, as far as the file says."""
    match call.args[:1]:
        case [ast.Constant(str(name))]:
            return name
        case [ast.JoinedStr([ast.Constant(start), *_])]:
            return start.rstrip(".")
    return "?"


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
        for later in ast.walk(tree)
        if isinstance(later, functions)
        or (isinstance(later, ast.If) and ast.unparse(later.test) == "TYPE_CHECKING")
        for node in ast.walk(later)
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
            names = [dynamic_name(node)]
        for name in names:
            yield name, node.lineno, id(node) not in lazy


def dotted(storey):
    """The dotted name of a folder or root file in `STOREYS`."""
    name = storey.removesuffix(".py").removeprefix("src/").replace("/", ".")
    return name if name.startswith("hornbook") else f"hornbook.{name}"


def height(name):
    """The place in `STOREYS` of what a dotted name lies in.

    The face of a package (`hornbook.zoo`) stands as high as the highest that it shows;
    that of `hornbook` itself shows its version, and stands below all.
    """
    inside = [each for each in STOREYS if within(name, [dotted(each)])]
    if inside:
        return STOREYS.index(max(inside, key=len))
    faces = [face for face in FOLDERS if face != "hornbook" and within(name, [face])]
    shown = [each for each in STOREYS for face in faces if within(dotted(each), [face])]
    return max(map(STOREYS.index, shown), default=-1)


def may_import(name, package, here, *, at_once, is_recipe, needs):
    """Whether a module may import a name; `here` is its own dotted name."""
    top = name.partition(".")[0]
    if within(name, ["keras.src"]) or name == "?":
        return False
    if is_recipe:
        named = re.findall(r"\w+", needs)
        return top in {"keras", "numpy", *named, *sys.stdlib_module_names} - OURS
    if top not in OURS:
        return True
    if top != "hornbook":
        return False
    if package == "hornbook.recipes":
        return within(name, ["hornbook.recipes"])
    if package == "hornbook" and within(name, ["hornbook.recipes"]):
        return False  # the command line reads the recipes' files
    if package == "hornbook" and within(name, ["hornbook.zoo", "hornbook.tuning"]):
        is_light = not at_once or within(name, READ_AT_ONCE)
        return is_light and height(name) <= height(here)
    return height(name) <= height(here)


def import_problems(root):
    """Every import below a checkout that breaks a rule, as `file:line: name`."""
    problems = []
    for package, folder in FOLDERS.items():
        for path in files(root, folder):
            tree, where = parse(path), path.relative_to(root)
            inside = package_of(path, root)
            here = f"{inside}.{path.stem}"
            is_face = path.name == "__init__.py" and inside != "hornbook.cli"
            is_recipe = package == "hornbook.recipes" and not is_face
            if is_face and package != "hornbook.recipes":
                continue
            if not within(here, map(dotted, STOREYS)):
                problems.append(f"{where}:1: stands nowhere in STOREYS")
            needs = re.search(
                r"^Needs:(.*(\n +.*)*)", ast.get_docstring(tree) or "", re.M
            )
            found = [
                (line, name)
                for name, line, at_once in imports(tree, inside)
                if not may_import(
                    name,
                    package,
                    here,
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
            problems += [f"{where}:{line}: {name}" for line, name in sorted(found)]
    return problems


def heavy_imports(root):
    """What the command line loads before it knows the command, though not light."""
    names = {}
    for path in files(root, "src/hornbook"):
        inside = package_of(path, root)
        names[inside if path.name == "__init__.py" else f"{inside}.{path.stem}"] = path
    to_read = {name for name in names if within(name, ["hornbook.cli"])}
    read, problems = set(), []
    while to_read:
        path = names[name := to_read.pop()]
        read.add(name)
        for imported, line, at_once in imports(parse(path), package_of(path, root)):
            if at_once and imported.partition(".")[0] not in {*LIGHT, "hornbook"}:
                problems.append(f"{path.relative_to(root)}:{line}: {imported}")
            if at_once:
                to_read |= {each for each in names if within(imported, [each])} - read
    return sorted(problems)


def long_files(root):
    """Files of `src`, `zoo` and `tuning` that are too long, as `file: lines`."""
    for path in files(root, "src/hornbook", "zoo", "tuning"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MOST_LINES:
            yield f"{path.relative_to(root)}: {lines} lines"


def attributes_set(method):
    """The attributes of its first argument that a method sets, with lines."""
    parameters = [*method.args.posonlyargs, *method.args.args]
    if not parameters or "staticmethod" in map(ast.unparse, method.decorator_list):
        return
    for node in ast.walk(method):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and ast.unparse(node.value) == parameters[0].arg
        ):
            yield node.attr, node.lineno


def bases_of(node, classes):
    """A class and those of ours that it inherits from, by their last names."""
    found, to_see = [], [node]
    while to_see:
        found.append(to_see.pop())
        for base in map(ast.unparse, found[-1].bases):
            if not base.startswith(("keras.", "keras_tuner.")):
                inner = classes.get(base.rpartition(".")[2], [])
                to_see += [each for each in inner if each not in found]
    return found


def methods_of(node):
    """The functions that stand in a class."""
    return [each for each in node.body if isinstance(each, ast.FunctionDef)]


def may_set(method, family, is_recipe):
    """Whether an attribute may be set there for the first time."""
    decorators = [ast.unparse(each) for each in family[0].decorator_list]
    if method.name == "__post_init__":
        return any("dataclass" in each for each in decorators)
    bases = [ast.unparse(base) for each in family for base in each.bases]
    if is_recipe and method.name == "build":  # where Keras makes weights
        return any(base.startswith("keras.layers.") for base in bases)
    if is_recipe and method.name.startswith("on_"):  # where a training begins anew
        return any(base.startswith("keras.callbacks.") for base in bases)
    return method.name in {"__init__", "__new__"}


def late_attributes(root):
    """Attributes that are first set outside `__init__`, as `file:line: Class.name`."""
    trees = {path: parse(path) for path in files(root)}
    classes = {}
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).append(node)
    for path, tree in trees.items():
        is_recipe = path.is_relative_to(root / "recipes")
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef):
                continue
            family, known = bases_of(node, classes), set()
            for each in family:
                for line in each.body:
                    if isinstance(line, ast.Assign | ast.AnnAssign):
                        targets = getattr(line, "targets", None) or [line.target]
                        known |= {name.id for name in targets if hasattr(name, "id")}
                for method in methods_of(each):
                    if may_set(method, [each, *family], is_recipe):
                        known |= {name for name, _ in attributes_set(method)}
                    if any(
                        ast.unparse(decorator).endswith(".setter")
                        for decorator in method.decorator_list
                    ):
                        known.add(method.name)
            for method in methods_of(node):
                for name, line in attributes_set(method):
                    if name not in known:
                        yield f"{path.relative_to(root)}:{line}: {node.name}.{name}"


def unannotated(root):
    """Public functions and methods that do not say what they return, as `file:line`."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    for path in files(root, "src/hornbook", "zoo", "tuning"):
        if path.name.startswith("_") and path.name != "__init__.py":
            continue
        to_read = [parse(path)]
        while to_read:
            for node in to_read.pop().body:
                is_public = not getattr(node, "name", "_").startswith("_")
                if is_public and isinstance(node, ast.ClassDef):
                    to_read.append(node)
                if is_public and isinstance(node, functions) and node.returns is None:
                    yield f"{path.relative_to(root)}:{node.lineno}"


def calls(root, *tops):
    """Every call with a dotted or plain name, as path, line, last name and node."""
    for path in files(root, *tops):
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                yield path.relative_to(root).as_posix(), node.lineno, name, node


def other_doors(root):
    """Calls of Keras's `load_model` elsewhere than in `zoo/keras_file.py`."""
    for where, line, name, node in calls(root, "src/hornbook", "zoo", "tuning"):
        owner = ast.unparse(node.func).rpartition(".")[0]
        is_door = where == "zoo/keras_file.py" or owner in {"self", "super()"}
        if name == "load_model" and not is_door:
            yield f"{where}:{line}"


def parsed_ids(root):
    """Where the source of a backbone is read from its id, but in `open_backbone.py`."""
    reads = {"startswith", "removeprefix", "partition", "split"}
    for where, line, name, node in calls(root, "src/hornbook", "zoo", "tuning"):
        texts = {
            each.value for each in ast.walk(node) if isinstance(each, ast.Constant)
        }
        parses = name in reads and texts & {"keras/", "hub/", "hub:"}
        if parses and where != "zoo/backbones/open_backbone.py":
            yield f"{where}:{line}"


def private_attributes(root):
    """The private attributes of others that are read but in `compat.py`, by file."""
    trees = {path: parse(path) for path in files(root, "src/hornbook", "zoo", "tuning")}
    ours = set(PUBLIC)
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                ours.add(node.name)
            elif isinstance(node, ast.AnnAssign):
                ours.add(getattr(node.target, "id", ""))
            if isinstance(node, ast.ClassDef):
                for method in methods_of(node):
                    ours |= {name for name, _ in attributes_set(method)}
    ours -= {"_build_and_fit_model"}  # overridden, and asked whether it is
    found = {}
    for path, tree in trees.items():
        names = {
            node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
        }
        names |= {
            node.args[1].value
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and getattr(node.func, "id", "") in {"getattr", "hasattr", "setattr"}
            and isinstance(node.args[1], ast.Constant)
        }
        names = {each for each in names if re.match("_[a-z]", each)} - ours
        where = path.relative_to(root).as_posix()
        if names and where != "src/hornbook/compat.py":
            found[where] = names
    return found


def write(root, path, text):
    """Plants a file in a checkout."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


class TestImports:
    def test_everyone_imports_only_what_stands_below(self):
        problems = import_problems(ROOT)
        assert not problems, "\n".join(problems)

    def test_storeys_are_there(self):
        assert [each for each in STOREYS if not (ROOT / each).exists()] == []
        assert len(set(STOREYS)) == len(STOREYS)

    @pytest.mark.parametrize(
        ("path", "text", "breaks"),
        [
            ("recipes/layers/a.py", "import keras, math, numpy as np", False),
            ("recipes/layers/a.py", "from keras import ops", False),
            ("recipes/layers/a.py", "import hornbook", True),
            ("recipes/layers/a.py", "from hornbook.errors import InputError", True),
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
            ("zoo/data/dataset.py", "from .arrays import decode", False),
            ("zoo/data/dataset.py", "from hornbook.zoo.data import splits", False),
            ("zoo/data/arrays/a.py", "from hornbook.zoo.data import dataset", True),
            ("zoo/data/arrays/a.py", "def f():\n    from ..readers import csv", True),
            ("zoo/data/a.py", "from ...tuning import a", True),
            ("zoo/backbones/a.py", "from hornbook.recipes import layers", False),
            ("zoo/backbones/a.py", "from hornbook.zoo.keras_file import load", False),
            ("zoo/backbones/a.py", "from hornbook.zoo.doctor import review", True),
            ("zoo/backbones/a.py", "from hornbook.zoo import fine_tune", True),
            ("zoo/backbones/a.py", "import_module(f'hornbook.zoo.runs.{a}')", True),
            ("zoo/backbones/a.py", "import_module(name)", True),
            ("zoo/finetune/a.py", "from hornbook.zoo.backbones import Backbone", False),
            ("zoo/finetune/a.py", "def f():\n    import hornbook.zoo.runs.run", True),
            ("zoo/runs/a.py", "from hornbook.zoo.finetune import a", False),
            ("zoo/runs/a.py", "from hornbook.zoo import fine_tune", False),
            ("zoo/runs/a.py", "from hornbook import tuning", True),
            ("zoo/runs/a.py", "from hornbook.tuning import a", True),
            ("zoo/runs/a.py", "from hornbook.cli import app", True),
            ("zoo/runs/a.py", "def f():\n    import studies", True),
            ("zoo/runs/a.py", "from keras.src import backend", True),
            ("zoo/no_such_place.py", "import keras", True),
            ("zoo/no_such_folder/a.py", "import keras", True),
            ("tuning/runs/a.py", "from hornbook.zoo.data import a", False),
            ("tuning/runs/a.py", "from hornbook.zoo import fine_tune", False),
            ("tuning/runs/a.py", "import benchmarks.layers", True),
            ("tuning/runs/a.py", "from zoo import data", True),
            ("tuning/trials/a.py", "from hornbook.tuning import Pool", True),
            ("tuning/trials/a.py", "from hornbook.tuning.search import a", True),
            ("src/hornbook/errors.py", "import keras", False),
            ("src/hornbook/errors.py", "from hornbook.files import a", True),
            ("src/hornbook/files.py", "from hornbook import __version__", False),
            ("src/hornbook/files.py", "def f():\n    import hornbook.zoo", True),
            ("src/hornbook/pages/a.py", "from hornbook.errors import E", False),
            ("src/hornbook/pages/a.py", "import hornbook.recipes", True),
            ("src/hornbook/cli/a.py", "from hornbook import recipe_index", False),
            ("src/hornbook/cli/a.py", "from hornbook.zoo import finetune", True),
            ("src/hornbook/cli/a.py", "def f():\n    import hornbook.zoo", False),
            ("src/hornbook/cli/a.py", "def f():\n    import hornbook.recipes", True),
            ("src/hornbook/cli/a.py", "def f():\n    import keras", False),
            ("src/hornbook/cli/a.py", "class A:\n    import hornbook.tuning", True),
            ("src/hornbook/cli/__init__.py", "import hornbook.tuning", True),
        ],
    )
    def test_rule(self, tmp_path, path, text, breaks):
        write(tmp_path, path, text)
        assert bool(import_problems(tmp_path)) == breaks

    def test_the_command_line_loads_nothing_heavy_at_once(self):
        assert heavy_imports(ROOT) == []

    @pytest.mark.parametrize(
        ("cli", "files", "found"),
        [
            ("import typer, json", "", []),
            ("import numpy", "", ["src/hornbook/cli/a.py:1: numpy"]),
            ("def f():\n    import numpy", "", []),
            ("", "import numpy", []),
            ("def f():\n    import hornbook.files", "import numpy", []),
            (
                "from hornbook.files import write_json",
                "import json\nimport numpy",
                ["src/hornbook/files.py:2: numpy"],
            ),
        ],
    )
    def test_what_is_heavy_is_found(self, tmp_path, cli, files, found):
        write(tmp_path, "src/hornbook/cli/a.py", cli)
        write(tmp_path, "src/hornbook/files.py", files)
        assert heavy_imports(tmp_path) == found


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


class TestFiles:
    def test_none_is_too_long(self):
        found = list(long_files(ROOT))
        assert not found, "\n".join(found)

    def test_what_is_too_long_is_found(self, tmp_path):
        write(tmp_path, "zoo/a.py", "a = 0\n" * 400)
        write(tmp_path, "tuning/b.py", "a = 0\n" * 401)
        assert list(long_files(tmp_path)) == ["tuning/b.py: 401 lines"]

    def test_each_folder_has_tests_in_its_place(self):
        for path in (ROOT / "tests").rglob("test_*.py"):
            inside = path.parent.relative_to(ROOT / "tests").as_posix()
            places = [ROOT / inside, ROOT / "src/hornbook" / inside]
            assert any(place.is_dir() for place in places), path
        for package in modules("__init__.py"):
            if package.startswith(("hornbook.zoo.", "hornbook.tuning.")):
                _, *inside = package.split(".")
                near = ROOT.joinpath("tests", *inside[:-1])
                texts = [path.read_text("utf-8") for path in near.rglob("test_*.py")]
                assert any(package in text for text in texts), package


class TestAttributes:
    def test_each_is_set_in_init_first(self):
        found = list(late_attributes(ROOT))
        assert not found, "\n".join(found)

    @pytest.mark.parametrize(
        ("path", "text", "late"),
        [
            ("zoo/a.py", "class A:\n def __init__(self): self.x = 0", False),
            ("zoo/a.py", "class A:\n def f(self): self.x = 0", True),
            ("zoo/a.py", "class A:\n def f(self): self.x, b = 0, 1", True),
            ("zoo/a.py", "class A:\n def f(self): self.x += 1", True),
            ("zoo/a.py", "class A:\n def f(self): other.x = 0", False),
            ("zoo/a.py", "class A:\n x = None\n def f(self): self.x = 0", False),
            ("zoo/a.py", "class A:\n x: int\n def f(self): self.x = 0", False),
            (
                "zoo/a.py",
                "class A:\n def __init__(self): self.x = 1\n"
                "class B(A):\n def f(self): self.x = 0",
                False,
            ),
            (
                "zoo/a.py",
                "@dataclass\nclass A:\n def __post_init__(self): self.x = 0",
                False,
            ),
            ("zoo/a.py", "class A:\n def __post_init__(self): self.x = 0", True),
            (
                "zoo/a.py",
                "class A:\n @x.setter\n def x(self, to): pass\n"
                " def f(self): self.x = 0",
                False,
            ),
            (
                "zoo/a.py",
                "class A(keras.layers.Layer):\n def build(self, s): self.x = 0",
                True,
            ),
            (
                "recipes/a.py",
                "class A(keras.layers.Layer):\n def build(self, s): self.x = 0",
                False,
            ),
            ("recipes/a.py", "class A:\n def build(self, s): self.x = 0", True),
            (
                "recipes/a.py",
                "class A(keras.callbacks.Callback):\n"
                " def on_train_begin(self, logs): self.x = 0",
                False,
            ),
            (
                "tuning/a.py",
                "class A(keras.callbacks.Callback):\n"
                " def on_train_begin(self, logs): self.x = 0",
                True,
            ),
            (
                "recipes/a.py",
                "class A(keras.callbacks.Callback):\n def f(self): self.x = 0",
                True,
            ),
        ],
    )
    def test_rule(self, tmp_path, path, text, late):
        write(tmp_path, path, text)
        assert bool(list(late_attributes(tmp_path))) == late

    def test_private_ones_of_others_are_read_in_one_file(self):
        assert private_attributes(ROOT) == PRIVATE

    def test_private_ones_are_found(self, tmp_path):
        ours = "class A:\n def __init__(self): self._x = self._y()\n def _y(self): 0"
        write(tmp_path, "zoo/a.py", ours)
        write(tmp_path, "zoo/b.py", "a._x, model._z, getattr(model, '_w'), n._asdict()")
        write(tmp_path, "src/hornbook/compat.py", "model._v")
        assert private_attributes(tmp_path) == {"zoo/b.py": {"_z", "_w"}}


class TestAnnotations:
    def test_public_functions_say_what_they_return(self):
        found = list(unannotated(ROOT))
        assert not found, "\n".join(found)

    @pytest.mark.parametrize(
        ("path", "text", "found"),
        [
            ("zoo/a.py", "def f(): 0", True),
            ("zoo/a.py", "async def f(): 0", True),
            ("zoo/a.py", "def f() -> int: 0", False),
            ("zoo/a.py", "def _f(): 0", False),
            ("zoo/a.py", "def f() -> int:\n def g(): 0", False),
            ("zoo/_a.py", "def f(): 0", False),
            ("zoo/__init__.py", "def f(): 0", True),
            ("zoo/a.py", "class A:\n def f(self): 0", True),
            ("zoo/a.py", "class A:\n @property\n def f(self) -> int: 0", False),
            ("zoo/a.py", "class A:\n def __call__(self): 0", False),
            ("zoo/a.py", "class _A:\n def f(self): 0", False),
            ("recipes/a.py", "def f(): 0", False),
        ],
    )
    def test_rule(self, tmp_path, path, text, found):
        write(tmp_path, path, text)
        assert bool(list(unannotated(tmp_path))) == found


class TestOneDoor:
    def test_only_one_file_loads_models(self):
        found = list(other_doors(ROOT))
        assert not found, "\n".join(found)

    def test_other_doors_are_found(self, tmp_path):
        write(tmp_path, "zoo/keras_file.py", "keras.models.load_model(path)")
        write(tmp_path, "zoo/a.py", "'load_model()'\nkeras.models.load_model(path)")
        write(tmp_path, "tuning/b.py", "load_model(path)\nself.load_model(trial)")
        assert list(other_doors(tmp_path)) == ["zoo/a.py:2", "tuning/b.py:1"]

    def test_only_one_file_parses_ids(self):
        found = list(parsed_ids(ROOT))
        assert not found, "\n".join(found)

    def test_other_parsers_of_ids_are_found(self, tmp_path):
        write(tmp_path, "zoo/backbones/open_backbone.py", "id.startswith('keras/')")
        write(tmp_path, "zoo/a.py", "f'keras/{name}'\nid.removeprefix('keras/')")
        write(tmp_path, "tuning/b.py", "a.startswith(('hub/', 'hub:'))")
        assert list(parsed_ids(tmp_path)) == ["zoo/a.py:2", "tuning/b.py:1"]

    def test_there_is_one_engine(self):
        word = "is_" + "plain"  # which engine trained, as a setting's prefix told
        tops = ("recipes", "src", "zoo", "tuning", "tests", "studies", "benchmarks")
        found = [
            str(path.relative_to(ROOT))
            for path in files(ROOT, *tops, "docs")
            if re.search(rf"\b{word}\b", path.read_text(encoding="utf-8"))
        ]
        assert found == []


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
