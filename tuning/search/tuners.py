"""The searches: keras-tuner's oracles over our trials."""

import keras_tuner

from hornbook.tuning.search.tuner import Tuner


class RandomSearch(keras_tuner.RandomSearch, Tuner):
    """`keras_tuner.RandomSearch`, faster, seeded and safe; see `Tuner`."""


class GridSearch(keras_tuner.GridSearch, Tuner):
    """`keras_tuner.GridSearch`, faster, seeded and safe; see `Tuner`."""


class BayesianOptimization(keras_tuner.BayesianOptimization, Tuner):
    """`keras_tuner.BayesianOptimization`, faster, seeded and safe; see `Tuner`."""


class Hyperband(keras_tuner.Hyperband, Tuner):
    """`keras_tuner.Hyperband`, faster, seeded and safe; see `Tuner`."""
