"""Several finished runs as one model."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from keras import ops

from hornbook.errors import InputError
from hornbook.recipes.inference.ensemble import Ensemble
from hornbook.zoo.runs.config import MERGES
from hornbook.zoo.runs.load import load_run
from hornbook.zoo.runs.records import read_config


def open_ensemble(
    folders: Sequence[str | Path],
    merge: str = "mean",
    weights: Sequence[float] | None = None,
    safe_mode: bool = True,
) -> keras.Model:
    """Opens finished runs as one model, each with its own preprocessing inside.

    Args:
        folders: Two or more finished run folders, of the same classes in any order.
        merge: How their probabilities become one, as for `Ensemble`.
        weights: One number for each run, of any sum, or None for equal ones.
        safe_mode: Whether to refuse models that carry code.

    Returns:
        A `keras.Model` from uint8 `(batch, height, width, channels)`, of any one size,
        to probabilities `(batch, classes)` in the order of the first run's classes.

    Raises:
        InputError: before any model is opened, if the runs can't vote together or an
            argument makes no sense; and if a run is not finished or its file is
            damaged, or carries code.
    """
    configs = check_runs(folders)
    if len(configs) < 2:
        raise InputError(f"An ensemble takes two runs or more. Received: {folders[0]}")
    if merge not in MERGES:
        raise InputError(
            f"merge must be one of {', '.join(MERGES)}. Received: merge={merge}"
        )
    if weights is not None and (
        len(weights) != len(configs)
        or min(weights) < 0
        or not 0 < sum(weights) < math.inf
    ):
        raise InputError(
            f"weights must be {len(configs)} numbers, one for each run, none negative "
            f"and not all zero. Received: weights={weights}"
        )
    classes, channels = configs[0]["class_names"], configs[0]["channels"]
    members = [
        _in_order(load_run(folder, safe_mode)[0], config["class_names"], classes)
        for folder, config in zip(folders, configs, strict=True)
    ]
    pictures = keras.Input((None, None, channels), dtype="uint8", name="picture")
    ensemble = Ensemble(members, merge, weights, from_logits=False)
    return keras.Model(pictures, ensemble(pictures), name="ensemble")


def check_runs(folders: Sequence[str | Path]) -> list[dict[str, Any]]:
    """The configs of runs that answer the same question on the same pictures.

    Args:
        folders: Run folders.

    Returns:
        List of dicts.

    Raises:
        InputError: if a run is named twice, or runs differ in classes or channels.
    """
    if len({Path(folder).resolve() for folder in folders}) < len(folders):
        names = ", ".join(map(str, folders))
        raise InputError(f"Each run can be named only once. Received: {names}")
    configs = [read_config(folder) for folder in folders]
    first = configs[0]
    for folder, config in zip(folders, configs, strict=True):
        if set(config["class_names"]) != set(first["class_names"]):
            raise InputError(
                f"The runs must have the same classes: {folders[0]} has "
                f"{', '.join(first['class_names'])}; {folder} has "
                f"{', '.join(config['class_names'])}."
            )
        if config["channels"] != first["channels"]:
            raise InputError(
                f"The runs must take the same pictures: those of {folders[0]} have "
                f"{first['channels']} channels, those of {folder} have "
                f"{config['channels']}."
            )
    return configs


def _in_order(model, classes, wanted):
    """A model with its classes in the wanted order."""
    if classes == wanted:
        return model
    places = [classes.index(name) for name in wanted]
    probabilities = ops.take(model.output, places, axis=1)
    return keras.Model(model.input, probabilities, name=model.name)
