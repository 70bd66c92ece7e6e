"""One learning rate over several phases: a cosine in each."""

import itertools

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class CosinePhases(keras.optimizers.schedules.LearningRateSchedule):
    """Falls from the rate to 0 as a cosine in each phase, and begins again.

    Args:
        rate: The rate at the begin of each phase.
        steps: How many batches each phase has.
        accumulate: Batches that make one step: Keras counts batches, and the rate
            changes from step to step.

    Example:

    >>> rate = CosinePhases(0.2, [2, 4])
    >>> [round(float(rate(step)), 3) for step in range(7)]
    [0.2, 0.1, 0.2, 0.171, 0.1, 0.029, 0.0]
    """

    def __init__(self, rate, steps, accumulate=1):
        self.rate = rate
        self.steps = list(steps)
        self.accumulate = accumulate

    def __call__(self, step):
        """The rate of a step."""
        step = ops.cast(step, "float32")
        rate = 0.0
        starts = [0, *itertools.accumulate(self.steps[:-1])]
        for start, length in zip(starts, self.steps, strict=True):
            passed = ops.floor((step - start) / self.accumulate) * self.accumulate
            done = ops.clip(passed / length, 0.0, 1.0)
            cosine = self.rate * (1 + ops.cos(np.pi * done)) / 2
            rate = ops.where(step >= start, cosine, rate)
        return rate

    def get_config(self):
        """The arguments."""
        return {
            "rate": self.rate,
            "steps": self.steps,
            "accumulate": self.accumulate,
        }
