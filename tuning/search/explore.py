"""Finds all hyperparameters that a hypermodel asks for."""

import copy
import tempfile
from typing import Any

import keras_tuner


def explore(
    hypermodel: Any,
    objective: Any,
    hyperparameters: keras_tuner.HyperParameters | None = None,
) -> keras_tuner.HyperParameters:
    """Returns the whole search space of a hypermodel, with its conditional parts.

    Args:
        hypermodel: As for `keras_tuner.RandomSearch`.
        objective: As for `keras_tuner.RandomSearch`.
        hyperparameters: As for `keras_tuner.RandomSearch`.
    """
    return explorer(hypermodel, objective, hyperparameters).oracle.get_space()


def explorer(
    hypermodel: Any,
    objective: Any,
    hyperparameters: keras_tuner.HyperParameters | None = None,
) -> keras_tuner.Tuner:
    """Returns a search of keras-tuner that has explored a hypermodel, and no more.

    Args:
        hypermodel: As for `keras_tuner.RandomSearch`.
        objective: As for `keras_tuner.RandomSearch`.
        hyperparameters: As for `keras_tuner.RandomSearch`.
    """
    with tempfile.TemporaryDirectory() as folder:
        return keras_tuner.RandomSearch(
            hypermodel,
            objective,
            hyperparameters=copy.deepcopy(hyperparameters),
            directory=folder,
        )
