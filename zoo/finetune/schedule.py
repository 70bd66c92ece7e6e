"""One learning rate over several phases: a cosine in each."""

import itertools
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class CosinePhases(keras.optimizers.schedules.LearningRateSchedule):
    """Falls from the learning rate to 0 as a cosine in each phase, and begins again.

    Args:
        learning_rate: Float. The rate from which each phase falls.
        steps: List of integers. Batches of each phase.
        warmup_ratio: Float. Part of each phase, at its start, in which the rate rises
            linearly from near 0 to its value.
        gradient_accumulation_steps: Integer. Batches that make one step: Keras counts
            batches, and the rate changes from step to step.

    Example:

    >>> schedule = CosinePhases(0.2, [2, 4])
    >>> [round(float(schedule(step)), 3) for step in range(7)]
    [0.2, 0.1, 0.2, 0.171, 0.1, 0.029, 0.0]
    """

    def __init__(
        self,
        learning_rate: float,
        steps: list[int],
        warmup_ratio: float = 0.0,
        gradient_accumulation_steps: int = 1,
    ) -> None:
        self.learning_rate = learning_rate
        self.steps = list(steps)
        self.warmup_ratio = warmup_ratio
        self.gradient_accumulation_steps = gradient_accumulation_steps

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step."""
        step = ops.cast(step, "float32")
        every, rate = self.gradient_accumulation_steps, 0.0
        starts = [0, *itertools.accumulate(self.steps[:-1])]
        for start, length in zip(starts, self.steps, strict=True):
            passed = ops.floor((step - start) / every) * every
            warmup = round(self.warmup_ratio * length)
            done = ops.clip((passed - warmup) / max(1, length - warmup), 0.0, 1.0)
            cosine = self.learning_rate * (1 + ops.cos(np.pi * done)) / 2
            if warmup:
                rise = ops.clip((passed + every) / warmup, 0.0, 1.0)
                cosine = cosine * rise
            rate = ops.where(step >= start, cosine, rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "warmup_ratio": self.warmup_ratio,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }
