# SPDX-License-Identifier: Apache-2.0
"""OneCycle: up to a large learning rate and down again, then down to almost 0.

What:    a schedule of three straight lines over a whole training.
When:    a training of known length that should be short; the highest rate from
         `find_learning_rate`.
Not for: continuing a training that has ended: its learning rate is almost 0.
Source:  Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks
         Using Large Learning Rates", arXiv:1708.07120, 2018.
Differs: momentum does not cycle the other way, since Keras keeps it as a number that is
         compiled into the training step. Arguments are named as those of torch's
         `OneCycleLR`, of which this is `three_phase=True` with straight lines.
Needs:   keras>=3.
"""

import math

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Rises for 45 % of the steps, falls for 45 %, and fades over the last 10 %.

    The rate begins at `max_lr / div_factor`, is `max_lr` at the end of the rise,
    `max_lr / div_factor` again at the end of the fall, and
    `max_lr / div_factor / final_div_factor` at the last step and from there on. Each of
    the three parts is linear.

    Args:
        max_lr: Float above 0, the highest learning rate.
        total_steps: Int, at least 2: steps of the whole training, batches times epochs.
        div_factor: Float of at least 1. The rate begins at `max_lr / div_factor`.
            Defaults to 25.
        final_div_factor: Float of at least 1. The rate ends this many times lower than
            it began. Defaults to 1e4.
        pct_start: Float above 0, at most 0.5: the part of the steps in which the rate
            rises. It falls for as many, and fades over the rest. Defaults to 0.45.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    >>> rate = OneCycle(1.0, total_steps=21, div_factor=10)
    >>> [round(float(rate(step)), 2) for step in (0, 9, 18, 19, 20)]
    [0.1, 1.0, 0.1, 0.05, 0.0]
    >>> optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    """

    def __init__(
        self,
        max_lr: float,
        total_steps: int,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        pct_start: float = 0.45,
    ) -> None:
        if not isinstance(total_steps, (int, np.integer)) or total_steps < 2:
            raise ValueError(
                "`total_steps` must be an integer of at least 2. "
                f"Received: total_steps={total_steps}"
            )
        if not 0 < max_lr < math.inf:
            raise ValueError(f"`max_lr` must be above 0. Received: max_lr={max_lr}")
        for name, value in (
            ("div_factor", div_factor),
            ("final_div_factor", final_div_factor),
        ):
            if not 1 <= value < math.inf:
                raise ValueError(
                    f"`{name}` must be at least 1. Received: {name}={value}"
                )
        if not 0 < pct_start <= 0.5:
            raise ValueError(
                "`pct_start` must be above 0 and at most 0.5. "
                f"Received: pct_start={pct_start}"
            )
        self.max_lr = max_lr
        self.total_steps = int(total_steps)
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor
        self.pct_start = pct_start

    def __call__(self, step):
        """The learning rate of a step."""
        low = self.max_lr / self.div_factor
        final = low / self.final_div_factor
        done = ops.cast(step, "float32") / (self.total_steps - 1)  # 1 at the last step
        # 1 at the peak, 0 where the cycle begins and ends.
        height = 1 - ops.abs(done / self.pct_start - 1)
        cycle = 2 * self.pct_start
        fade = ops.clip((done - cycle) / max(1 - cycle, 1e-7), 0.0, 1.0)
        cycling = low + (self.max_lr - low) * ops.maximum(height, 0.0)
        return cycling + (final - low) * fade

    def get_config(self):
        """All arguments."""
        return {
            "max_lr": self.max_lr,
            "total_steps": self.total_steps,
            "div_factor": self.div_factor,
            "final_div_factor": self.final_div_factor,
            "pct_start": self.pct_start,
        }
