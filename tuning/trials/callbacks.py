"""Callbacks that a tuner adds to each training of a trial."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np

from hornbook.files import atomic_write
from hornbook.recipes.callbacks.full_state import FullState
from hornbook.resource_errors import check_room

PRUNING_RULES = (None, "median", "halving")
REDUCTION_FACTOR = 3  # Successive halving keeps one trial in three.
MEDIAN_AT_LEAST = 4  # Trials that have to reach an epoch before the median counts.
TUNER_METHODS = ("epoch_begin", "epoch_end", "batch_begin", "batch_end")

Logs = dict[str, Any] | None


class Pruning(keras.callbacks.Callback):
    """Stops trials that are worse than earlier trials at the same epoch.

    Args:
        rule: `None`, "median" or "halving". `None` never stops. "median" stops where
            the best value so far is worse than the median of what at least four earlier
            trials had reached by that epoch. "halving" is asynchronous successive
            halving: after epochs 1, 3, 9, ... a training goes on only if it is among
            the best third of the trials that got there.
        objective: A `keras_tuner.Objective`.
        earlier: List of curves of earlier trials, each a list with the value of the
            objective after each epoch.

    Attributes:
        epoch: Integer, the epoch after which the training was stopped, counted from 0;
            `None` if it was not stopped.
    """

    def __init__(
        self,
        rule: str | None,
        objective: keras_tuner.Objective,
        earlier: Sequence[Sequence[float]],
    ) -> None:
        super().__init__()
        self.rule, self.objective = rule, objective
        self.sign = 1 if objective.direction == "max" else -1
        self.earlier = [self.sign * np.asarray(curve, float) for curve in earlier]
        self.best = -np.inf
        self.epoch: int | None = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.rule is None or not self.objective.has_value(logs or {}):
            return
        value = self.sign * self.objective.get_value(logs)
        self.best = max(self.best, value)
        reached = [
            curve[: epoch + 1].max() for curve in self.earlier if len(curve) > epoch
        ]
        if self._is_behind(epoch, reached):
            self.epoch = epoch
            self.model.stop_training = True

    def _is_behind(self, epoch: int, reached: list[float]) -> bool:
        if epoch + 1 == self.params["epochs"]:
            return False
        if self.rule == "median":
            is_known = len(reached) >= MEDIAN_AT_LEAST
            return is_known and self.best < float(np.median(reached))
        is_rung = round(np.log(epoch + 1) / np.log(REDUCTION_FACTOR), 9) % 1 == 0
        if not is_rung or len(reached) < REDUCTION_FACTOR:
            return False
        kept = max((len(reached) + 1) // REDUCTION_FACTOR, 1)
        return sum(value > self.best for value in reached) >= kept


class ScoredWeights(keras.callbacks.Callback):
    """Saves the weights of the epoch that a trial's score is about.

    They are kept in memory and written when training ends, so that a trial writes once.
    One callback serves all trainings of a trial: it keeps the best of them.

    Args:
        objective: A `keras_tuner.Objective`.
        rule: As for `score_history`.
        path: Path of the weights file, which ends in `.weights.h5`.
        best: Float, the objective that was reached by an earlier training of the trial;
            `None` if there is none.
    """

    def __init__(
        self,
        objective: keras_tuner.Objective,
        rule: Any,
        path: str | os.PathLike[str],
        best: float | None = None,
    ) -> None:
        super().__init__()
        self.objective, self.rule, self.path = objective, rule, Path(path)
        self.best = best
        self.weights: list[np.ndarray] | None = None
        self.is_saved = True

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.rule == "best":
            self._keep_if_better(logs)

    def on_train_end(self, logs: Logs = None) -> None:
        if self.rule != "best":
            self._keep_if_better(logs)
        if not self.is_saved:
            current = self.model.get_weights()
            self.model.set_weights(self.weights)
            save_weights(self.model, self.path)
            self.model.set_weights(current)
            self.is_saved = True

    def _keep_if_better(self, logs: Logs) -> None:
        value = None
        if logs and self.objective.has_value(logs):
            value = self.objective.get_value(logs)
        # NaN is better than nothing, and worse than all else.
        is_first = self.best is None or self.best != self.best
        if value is None or is_first or self.objective.better_than(value, self.best):
            self.best, self.weights = value, self.model.get_weights()
            self.is_saved = False


class TrialState(FullState):
    """Saves the state of a training, but not at every epoch if epochs are short.

    Args:
        directory: As for `FullState`.
        seconds: Float, the seconds that have to pass between two saves.
    """

    def __init__(self, directory: str | os.PathLike[str], seconds: float = 2.0) -> None:
        super().__init__(Path(directory))
        self.seconds = seconds
        self.saved_at = 0.0

    def on_train_begin(self, logs: Logs = None) -> None:
        super().on_train_begin(logs)
        self.saved_at = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if time.monotonic() - self.saved_at >= self.seconds:
            super().on_epoch_end(epoch, logs)
            self.saved_at = time.monotonic()


class TunerCallbacks(keras.callbacks.Callback):
    """Calls `on_epoch_end` and the like of a tuner that overrides them.

    Args:
        tuner: A `keras_tuner.Tuner`.
        trial: The `keras_tuner` trial that is trained.
    """

    def __init__(self, tuner: keras_tuner.Tuner, trial: Any) -> None:
        super().__init__()
        self.tuner, self.trial = tuner, trial
        self.overridden = [
            name
            for name in TUNER_METHODS
            if getattr(type(tuner), f"on_{name}")
            is not getattr(keras_tuner.Tuner, f"on_{name}")
        ]
        self.wants_batches = any(name.startswith("batch") for name in self.overridden)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.tuner.on_epoch_begin(self.trial, self.model, epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.tuner.on_epoch_end(self.trial, self.model, epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self.tuner.on_batch_begin(self.trial, self.model, batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.tuner.on_batch_end(self.trial, self.model, batch, logs)


def save_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Saves the weights of a model. A reader never sees half a file.

    Args:
        model: A built `keras.Model`.
        path: Path of the file, which ends in `.weights.h5`.

    Raises:
        OSError: If the disk has no room for them.
    """
    check_room(model, Path(path).parent)
    with atomic_write(path) as new:
        model.save_weights(new)
