"""Ending trials early that earlier ones, as far as they went, were better than."""

import keras
import numpy as np

RULES = (None, "median", "halving")
FACTOR = 3  # Of successive halving: one in three goes on.


class Pruning(keras.callbacks.Callback):
    """Stops a training that has fallen behind.

    Args:
        rule: None never stops. "median": stops where the best value so far is worse
            than the median of
            what earlier trials had reached by that epoch; at least four of them.
            "halving": asynchronous successive halving. After epochs 1, 3, 9, ... it
            goes on only if it is among the best third that got there.
        objective: A `keras_tuner.Objective`.
        earlier: List of curves, the objective's values by epoch, of earlier trials.

    Attributes:
        epoch: The last epoch, counted from 0, if it was stopped; else None.
    """

    def __init__(self, rule, objective, earlier):
        super().__init__()
        self.rule, self.objective = rule, objective
        self.sign = 1 if objective.direction == "max" else -1
        self.earlier = [self.sign * np.asarray(curve, float) for curve in earlier]
        self.best = -np.inf
        self.epoch = None

    def on_epoch_end(self, epoch, logs=None):
        if self.rule is None or not self.objective.has_value(logs or {}):
            return
        value = self.sign * self.objective.get_value(logs)
        self.best = max(self.best, value)
        there = [
            curve[: epoch + 1].max() for curve in self.earlier if len(curve) > epoch
        ]
        if self._is_behind(epoch, there):
            self.epoch = epoch
            self.model.stop_training = True

    def _is_behind(self, epoch, there):
        if epoch + 1 == self.params["epochs"]:
            return False
        if self.rule == "median":
            return len(there) >= 4 and self.best < np.median(there)
        is_rung = round(np.log(epoch + 1) / np.log(FACTOR), 9) % 1 == 0
        if not is_rung or len(there) < FACTOR:
            return False
        going_on = max((len(there) + 1) // FACTOR, 1)
        return sum(value > self.best for value in there) >= going_on
