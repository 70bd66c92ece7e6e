"""Run folders: the next free one, and the versions that a run records."""

import importlib.metadata
import platform

import keras
import numpy
import pytest

from hornbook.errors import InputError
from hornbook.run_folder import check_new_folder, free_folder, versions


def test_free_folder_is_the_first_that_is_missing(tmp_path):
    parent = tmp_path / "runs"
    assert free_folder(parent) == parent / "1"
    (parent / "1").mkdir(parents=True)
    (parent / "3").mkdir()
    assert free_folder(parent) == parent / "2"
    (parent / "2").touch()  # A file takes the name, too.
    assert free_folder(str(parent)) == parent / "4"


def test_new_folder_is_absent_or_empty(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("absent", "empty"):
        assert check_new_folder(tmp_path / name) == tmp_path / name
    (tmp_path / "empty" / "file").touch()
    for name in ("empty", "empty/file"):
        with pytest.raises(InputError, match=f"Received: --out .*{name}"):
            check_new_folder(tmp_path / name)


def test_versions_are_those_that_are_installed():
    backend = keras.backend.backend()
    assert versions("numpy") == {
        "hornbook": importlib.metadata.version("hornbook"),
        "backend": backend,
        "versions": {
            "keras": keras.__version__,
            backend: importlib.metadata.version(backend),
            "numpy": numpy.__version__,
            "python": platform.python_version(),
        },
    }
