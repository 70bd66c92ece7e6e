"""Keeping TensorFlow's compiled kernels while Keras resets its state."""

import contextlib
import sys
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def keep_kernels() -> Iterator[None]:
    """Has TensorFlow keep its kernels while Keras resets names and seeds.

    Without it TensorFlow optimizes each compiled graph again, which takes longer than
    to train a small model. On other backends it does nothing.
    """
    name = "TFE_ContextClearCaches"
    module = sys.modules.get("tensorflow.python.pywrap_tfe")
    clear = getattr(module, name, None)
    if module is None or clear is None or keras.backend.backend() != "tensorflow":
        yield
        return
    setattr(module, name, lambda context: None)
    try:
        yield
    finally:
        setattr(module, name, clear)
