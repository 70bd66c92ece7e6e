"""Predictions of a finished run for picture files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hornbook.zoo.data.arrays.decode import read_image
from hornbook.zoo.runs.load import load_run


def predict_files(
    folder: str | Path,
    paths: Sequence[str | Path],
    top: int = 3,
    safe_mode: bool = True,
) -> list[dict[str, Any]]:
    """The most probable classes of pictures.

    Args:
        folder: A finished run folder.
        paths: Paths of picture files, of any sizes.
        top: How many classes to name for each.
        safe_mode: Whether to refuse a model that carries code.

    Returns:
        List of `{"image": path, "top": [{"class": ..., "probability": ...}, ...]}`.

    Raises:
        InputError: if the run or a picture can't be read.
    """
    model, config = load_run(folder, safe_mode)
    pictures = [read_image(path, config["channels"]) for path in paths]
    results = []
    for path, picture in zip(paths, pictures, strict=True):
        probabilities = np.asarray(model(picture[None], training=False))[0]
        best = np.argsort(-probabilities, kind="stable")[:top]
        named = [
            {"class": config["class_names"][k], "probability": float(probabilities[k])}
            for k in best
        ]
        results.append({"image": str(path), "top": named})
    return results
