"""Same seed, same weights, bit for bit, on the same machine."""

import contextlib
from collections.abc import Iterator

import keras

from hornbook.compat import set_op_determinism


@contextlib.contextmanager
def deterministic_ops() -> Iterator[None]:
    """Has TensorFlow compute the same bits each time, as long as the context lasts.

    It is left as it was found, since it slows down what else the process does, and
    refuses what has no deterministic kernel.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    before = set_op_determinism(True)
    try:
        yield
    finally:
        set_op_determinism(before)
