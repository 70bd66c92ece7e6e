"""keras-tuner's searches, with the trials of `Tuner`."""

import keras_tuner

from hornbook.tuning.search.tuner import Tuner


class RandomSearch(keras_tuner.RandomSearch, Tuner):
    """`keras_tuner.RandomSearch` with warm and seeded trials; see `Tuner`."""


class GridSearch(keras_tuner.GridSearch, Tuner):
    """`keras_tuner.GridSearch` with warm and seeded trials; see `Tuner`."""


class BayesianOptimization(keras_tuner.BayesianOptimization, Tuner):
    """`keras_tuner.BayesianOptimization` with warm and seeded trials; see `Tuner`."""


class Hyperband(keras_tuner.Hyperband, Tuner):
    """`keras_tuner.Hyperband` with warm and seeded trials; see `Tuner`."""
