# SPDX-License-Identifier: Apache-2.0
"""OneCycle: up to a large rate and down again, then down to almost nothing.

What:    a schedule of three straight lines over a whole training.
When:    a training of known length that should be short; the highest rate from
         `find_learning_rate`.
Not for: trainings that go on from where one ended: its rate is spent.
Source:  Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks
         Using Large Learning Rates", arXiv:1708.07120, 2018.
Differs: the rate alone: momentum does not cycle the other way, since Keras keeps it as
         a number that is compiled into the training step.
Needs:   keras>=3.
"""

import math

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Rises for 45 % of the steps, falls for as many, and fades over the last 10 %.

    The rate begins at `max_rate / divisor`, is `max_rate` at the end of the rise,
    `max_rate / divisor` again at the end of the fall, and
    `max_rate / divisor / final_divisor` at the last step and from there on. Each of the
    three parts is linear.

    Args:
        max_rate: The highest rate, above 0.
        steps: Int, at least 2: steps of the whole training, batches times epochs.
        divisor: How many times lower than `max_rate` the rate begins, at least 1.
        final_divisor: How many times lower than at its beginning it ends, at least 1.
        cycle: Part of the steps for rise and fall together, above 0, at most 1.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    >>> rate = OneCycle(1.0, steps=21, divisor=10)
    >>> [round(float(rate(step)), 2) for step in (0, 9, 18, 19, 20)]
    [0.1, 1.0, 0.1, 0.05, 0.0]
    >>> optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    """

    def __init__(self, max_rate, steps, divisor=25.0, final_divisor=1e4, cycle=0.9):
        if not isinstance(steps, (int, np.integer)) or steps < 2:
            raise ValueError(
                f"`steps` must be an integer of at least 2. Received: steps={steps}"
            )
        if not 0 < max_rate < math.inf:
            raise ValueError(
                f"`max_rate` must be above 0. Received: max_rate={max_rate}"
            )
        for name, value in (("divisor", divisor), ("final_divisor", final_divisor)):
            if not 1 <= value < math.inf:
                raise ValueError(
                    f"`{name}` must be at least 1. Received: {name}={value}"
                )
        if not 0 < cycle <= 1:
            raise ValueError(
                f"`cycle` must be above 0 and at most 1. Received: cycle={cycle}"
            )
        self.max_rate = max_rate
        self.steps = int(steps)
        self.divisor = divisor
        self.final_divisor = final_divisor
        self.cycle = cycle

    def __call__(self, step):
        """The rate of a step."""
        low = self.max_rate / self.divisor
        final = low / self.final_divisor
        done = ops.cast(step, "float32") / (self.steps - 1)  # 1 at the last step
        # 1 at the peak, 0 where the cycle begins and ends.
        height = 1 - ops.abs(done / (self.cycle / 2) - 1)
        fade = ops.clip((done - self.cycle) / max(1 - self.cycle, 1e-7), 0.0, 1.0)
        cycling = low + (self.max_rate - low) * ops.maximum(height, 0.0)
        return cycling + (final - low) * fade

    def get_config(self):
        """All arguments."""
        return {
            "max_rate": self.max_rate,
            "steps": self.steps,
            "divisor": self.divisor,
            "final_divisor": self.final_divisor,
            "cycle": self.cycle,
        }
