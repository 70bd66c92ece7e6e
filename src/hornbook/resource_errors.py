"""Saying plainly that the disk is full, or that a model does not fit in memory."""

import contextlib
import errno
import os

from keras_tuner.errors import FatalError

from hornbook.errors import InputError

FULL = [
    os.strerror(getattr(errno, name))
    for name in ("ENOSPC", "EDQUOT", "EFBIG")
    if hasattr(errno, name)
]


class DiskFull(FatalError, InputError):
    """The disk is full. No trial is to blame, and the search ends."""


@contextlib.contextmanager
def naming_full_disk(folder):
    """Raises `DiskFull` where a file could not be written for want of room.

    Args:
        folder: Where room has to be made.
    """
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        # (HDF5 says it in the text of a RuntimeError, or of one on the way there.)
        if any(reason in text for text in _texts(error) for reason in FULL):
            raise DiskFull(
                f"The disk is full ({error}). Make room where `{folder}` is and call "
                "`search` again: it goes on where it was."
            ) from error
        raise


@contextlib.contextmanager
def naming_full_memory(forget):
    """Raises a plain `MemoryError` where a model, or its batch, did not fit in memory.

    Args:
        forget: Function that gives memory back, for the trials to come.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        forget()
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MemoryError(
            f"the model, with its batch, does not fit in memory ({first})"
        ) from error


def _texts(error):
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


def is_out_of_memory(error):
    """Whether an error says that memory does not suffice."""
    names = {"ResourceExhaustedError", "OutOfMemoryError", "MemoryError"}
    words = ("RESOURCE_EXHAUSTED", "out of memory", "can't allocate memory")
    return bool(names & {kind.__name__ for kind in type(error).__mro__}) or any(
        word in str(error) for word in words
    )
