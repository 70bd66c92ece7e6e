"""Plain errors for a full disk and for a model that does not fit in memory."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hornbook.errors import InputError

DISK_FULL_MESSAGES = [
    os.strerror(getattr(errno, name))
    for name in ("ENOSPC", "EDQUOT", "EFBIG")
    if hasattr(errno, name)
]


class DiskFull(InputError):
    """The disk is full."""


@contextlib.contextmanager
def naming_full_disk(
    folder: str | os.PathLike[str],
    advice: str = "run it again",
    error_class: type[DiskFull] = DiskFull,
) -> Iterator[None]:
    """Raises `DiskFull` when a file could not be written because the disk is full.

    Args:
        folder: Path of the folder in which the user has to free space.
        advice: What the user does once there is space, as an imperative.
        error_class: `DiskFull` or a subclass of it to raise.
    """
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        # HDF5 names the cause in the text of a RuntimeError, or of one in its chain.
        messages = list(_messages(error))
        if any(full in text for text in messages for full in DISK_FULL_MESSAGES):
            raise error_class(
                f"The disk is full ({error}). Free some space where `{folder}` is, "
                f"then {advice}."
            ) from error
        raise


@contextlib.contextmanager
def naming_full_memory(release: Callable[[], object]) -> Iterator[None]:
    """Raises a plain `MemoryError` when a model and its batch do not fit in memory.

    Args:
        release: Function that frees memory, called before the error is raised.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        release()
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MemoryError(
            f"the model, with its batch, does not fit in memory ({first})"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python or of a backend reports too little memory.

    Example:

    >>> is_out_of_memory(RuntimeError("CUDA out of memory."))
    True
    >>> is_out_of_memory(ValueError("wrong shape"))
    False
    """
    names = {"ResourceExhaustedError", "OutOfMemoryError", "MemoryError"}
    words = ("RESOURCE_EXHAUSTED", "out of memory", "can't allocate memory")
    return bool(names & {kind.__name__ for kind in type(error).__mro__}) or any(
        word in str(error) for word in words
    )


def check_room(model: Any, folder: str | os.PathLike[str]) -> None:
    """Raises `OSError` if a disk has no room for a model's weights and state.

    Call it before saving: HDF5 aborts the process when the disk is full.

    Args:
        model: A `keras.Model`. The variables of its optimizer count too.
        folder: Path of an existing folder on the disk.

    Raises:
        OSError: With `errno.ENOSPC`, if there is too little room.
    """
    import keras

    # A model that was never compiled has no attribute `optimizer`.
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer else ())]
    size = sum(keras.ops.convert_to_numpy(v).nbytes for v in variables)
    size += 2**16 + 2**12 * len(variables)  # What HDF5 adds.
    if not hasattr(os, "posix_fallocate"):
        if shutil.disk_usage(folder).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        return
    with tempfile.TemporaryFile(dir=Path(folder)) as file:
        os.posix_fallocate(file.fileno(), 0, size)


def _messages(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__
