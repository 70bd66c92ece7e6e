"""What a trial leaves on disk: its weights, and the state to go on from."""

import time
from pathlib import Path

import keras

from hornbook.files import atomic_write
from hornbook.recipes.callbacks.full_state import FullState
from hornbook.resource_errors import check_room


class ScoredWeights(keras.callbacks.Callback):
    """Saves the weights of the epoch that the score is about.

    They are kept in memory and written when training ends, so that a trial writes once.
    The same callback serves all trainings of a trial: it keeps the best of them.

    Args:
        objective: A `keras_tuner.Objective`.
        rule: As for `score_history`.
        path: Of the weights file.
    """

    def __init__(self, objective, rule, path):
        super().__init__()
        self.objective, self.rule, self.path = objective, rule, str(path)
        self.best = self.weights = None
        self.is_saved = True

    def on_epoch_end(self, epoch, logs=None):
        if self.rule == "best":
            self._consider(logs)

    def on_train_end(self, logs=None):
        if self.rule != "best":
            self._consider(logs)
        if not self.is_saved:
            now = self.model.get_weights()
            self.model.set_weights(self.weights)
            save_weights(self.model, self.path)
            self.model.set_weights(now)
            self.is_saved = True

    def _consider(self, logs):
        value = None
        if logs and self.objective.has_value(logs):
            value = self.objective.get_value(logs)
        # NaN is better than nothing, and worse than all else.
        worst = self.best is None or self.best != self.best
        if value is None or worst or self.objective.better_than(value, self.best):
            self.best, self.weights = value, self.model.get_weights()
            self.is_saved = False


def save_weights(model, path):
    """Saves a model's weights, whole or not at all."""
    check_room(model, Path(path).parent)
    with atomic_write(path) as new:
        model.save_weights(new)


class TrialState(FullState):
    """Saves the state of a training, but not more often than it is worth.

    Args:
        directory: As for `FullState`.
        seconds: Time that has to pass before the next state is saved.
    """

    def __init__(self, directory, seconds=2.0):
        super().__init__(directory)
        self.seconds = seconds

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.saved_at = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        if time.monotonic() - self.saved_at >= self.seconds:
            super().on_epoch_end(epoch, logs)
            self.saved_at = time.monotonic()
