"""Writing files so that a reader never sees half of one, and hashing them."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a path to write to, which takes the place of `path` when all went well.

    Args:
        path: Where the file shall stand; its folder must exist.

    Example:

    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic_write(path) as new:
    ...     _ = new.write_text("whole")
    >>> path.read_text()
    'whole'
    """
    path = Path(path)
    # The suffixes stay, since Keras and matplotlib choose the format by them.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-", suffix=path.name)
    os.close(handle)
    new = Path(name)
    try:
        yield new
        new.chmod(0o644)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes JSON, whole or not at all."""
    with atomic_write(path) as new:
        text = json.dumps(value, indent=2, ensure_ascii=False)
        new.write_text(text + "\n", encoding="utf-8")


def sha256(path: str | os.PathLike) -> str:
    """The sha256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
