"""Weights from a file that the user names."""

from pathlib import Path

import numpy as np

from hornbook.errors import InputError


def load_own_weights(model, path):
    """Loads a weights file, and looks whether it made sense.

    Args:
        model: A `keras.Model`.
        path: Of a `.weights.h5` file of the same layers.

    Raises:
        InputError: if the file is missing, damaged or of other layers, or holds
            numbers that are not finite: Keras loads those in silence.
    """
    if not Path(path).is_file():
        raise InputError(f"There is no such weights file: {path}")
    try:
        model.load_weights(path)
    except Exception as error:
        raise InputError(
            f"The weights file is damaged or of other layers: {path} ({error})"
        ) from error
    if bad := [w.path for w in model.weights if not np.isfinite(np.asarray(w)).all()]:
        raise InputError(
            f"The weights file holds numbers that are not finite, first in {bad[0]}: "
            f"{path}"
        )
