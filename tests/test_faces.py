"""What `hornbook`, `hornbook.zoo` and `hornbook.tuning` show, and when they load it."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

FACES = ["hornbook", "hornbook.zoo"]
LAZY = """
import sys
import hornbook, hornbook.zoo, hornbook.tuning
assert {"recipes", "tuning", "zoo"} <= set(dir(hornbook))
assert {"fine_tune", "list_backbones", "Settings"} <= set(dir(hornbook.zoo))
print(*sys.modules)
assert len(hornbook.zoo.list_backbones("ours")) > 3
assert hornbook.recipes.layers.DropConnect
"""


def test_dir_loads_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", LAZY], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "hornbook.tuning" in loaded
    assert not loaded & {"keras", "keras_tuner", "numpy", "tensorflow", "jax", "torch"}


@pytest.mark.parametrize("name", FACES)
def test_an_editor_sees_all_names(name):
    face = importlib.import_module(name)
    tree = ast.parse(Path(face.__file__).read_text(encoding="utf-8"))
    [typed] = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(typed.test) == "TYPE_CHECKING"
    imported = {each.name: node.module for node in typed.body for each in node.names}
    assert sorted(imported) == sorted(face.__all__)
    for each, home in imported.items():
        found = getattr(face, each)
        assert each in dir(face)
        assert found is getattr(importlib.import_module(home), each)


@pytest.mark.parametrize("name", [*FACES, "hornbook.tuning"])
def test_what_is_not_there_is_named(name):
    face = importlib.import_module(name)
    with pytest.raises(AttributeError, match="has no attribute 'no_such_thing'"):
        _ = face.no_such_thing


def test_checkers_are_told_that_it_is_typed():
    face = importlib.import_module("hornbook")
    assert Path(face.__file__).with_name("py.typed").is_file()
