"""Keeps the start-up chatter of TensorFlow and TFDS from the terminal."""

import contextlib
import logging
import os
import sys


def quiet() -> None:
    """Imports Keras and its backend with their messages left out.

    Some are written by C++ before any setting is read, so standard error itself is
    turned away for as long as the import takes. What goes wrong is still raised.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("absl").setLevel(logging.ERROR)
    sys.stderr.flush()
    terminal = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import keras  # noqa: F401

        with contextlib.suppress(ImportError):  # not there with another backend
            import tensorflow_datasets

            tensorflow_datasets.disable_progress_bar()
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
