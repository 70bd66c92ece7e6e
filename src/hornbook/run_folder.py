"""Folders that a command makes for its results, and the record of the versions used."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hornbook.errors import InputError


def free_folder(parent: str | os.PathLike[str]) -> Path:
    """Returns the first of `parent/1`, `parent/2`, ... that does not exist yet.

    Args:
        parent: Path of a folder, which need not exist.

    Example:

    >>> free_folder("no such folder").name
    '1'
    """
    number = 1
    while (Path(parent) / str(number)).exists():
        number += 1
    return Path(parent) / str(number)


def check_new_folder(folder: str | os.PathLike[str]) -> Path:
    """Checks that a folder is absent or empty.

    Args:
        folder: Path of the folder, from the option `--out`.

    Returns:
        The path.

    Raises:
        InputError: If it is a file, or a folder with something in it.
    """
    path = Path(folder)
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise InputError(
            "The folder is not empty. Choose another one with --out, or continue the "
            f"run in it with --resume. Received: --out {path}"
        )
    return path


def versions(*packages: str) -> dict[str, Any]:
    """Records what a run was made with, for its `config.json`.

    Args:
        *packages: Names of installed distributions, such as "numpy", to record beside
            Keras, its backend and Python.

    Returns:
        Dict with "hornbook", the version; "backend", its name; and "versions", a dict
        from the name of a package to its version.

    Example:

    >>> sorted(versions("numpy"))
    ['backend', 'hornbook', 'versions']
    """
    import keras

    backend = keras.backend.backend()
    found = {name: version(name) for name in ("keras", backend, *packages)}
    found["python"] = platform.python_version()
    return {"hornbook": version("hornbook"), "backend": backend, "versions": found}
