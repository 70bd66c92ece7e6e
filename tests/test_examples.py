"""The examples in the docstrings of ours run, as those of the recipes do."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(("hornbook", *path.relative_to(ROOT / root).with_suffix("").parts))
    for root, folder in ((".", "zoo"), (".", "tuning"), ("src/hornbook", "."))
    for path in (ROOT / root / folder).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert attempted > 0
    assert failed == 0
