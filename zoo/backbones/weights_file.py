"""Weights from a file that the user names."""

import os
from pathlib import Path

import keras
import numpy as np

from hornbook.errors import InputError


def load_own_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Loads a weights file and checks the weights.

    Args:
        model: A `keras.Model`.
        path: Path of a `.weights.h5` file for the same layers.

    Raises:
        InputError: If the file is missing, is corrupted, was saved from another
            architecture, or holds values that are not finite, which Keras loads without
            a word.
    """
    if not Path(path).is_file():
        raise InputError(f"The weights file does not exist. Received: {path}")
    try:
        model.load_weights(path)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(
            "The weights file is corrupted, or was saved from another architecture "
            f"({reason}). Received: {path}"
        ) from error
    if bad := [w.path for w in model.weights if not np.isfinite(np.asarray(w)).all()]:
        raise InputError(
            "The weights file holds values that are not finite, first in "
            f"{bad[0]}. Received: {path}"
        )
