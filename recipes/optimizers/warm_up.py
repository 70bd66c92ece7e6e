# SPDX-License-Identifier: Apache-2.0
"""WarmUp: a learning rate that rises to where a schedule, or a constant, begins.

What:    a linear rise for some steps before another schedule.
When:    large batches, transformers, Adam's first steps, a pretrained backbone.
Not for: `CosineDecay`, which has its own `warmup_steps`.
Source:  Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
         arXiv:1706.02677, 2017.
Differs: the first rate is one step above 0, not 0 or the rate for one device.
Needs:   keras>=3.
"""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly for some steps, then follows a schedule from its beginning.

    Step `t`, counted from 0, has the rate

    - `schedule(0) * (t + 1) / (warmup_steps + 1)` for `t < warmup_steps`,
    - `schedule(t - warmup_steps)` from there on.

    Args:
        schedule: A `LearningRateSchedule`, or a number for a constant rate.
        warmup_steps: Int of at least 0, the number of steps of the rise.

    Raises:
        ValueError: If an argument is not one of these.

    Example:
    >>> import keras
    >>> decay = keras.optimizers.schedules.ExponentialDecay(0.4, 1, 0.5)
    >>> rate = WarmUp(decay, warmup_steps=3)
    >>> [round(float(rate(step)), 2) for step in range(6)]
    [0.1, 0.2, 0.3, 0.4, 0.2, 0.1]
    >>> optimizer = keras.optimizers.AdamW(rate)
    """

    def __init__(
        self,
        schedule: float | keras.optimizers.schedules.LearningRateSchedule,
        warmup_steps: int,
    ) -> None:
        is_schedule = isinstance(
            schedule, keras.optimizers.schedules.LearningRateSchedule
        )
        if not is_schedule and not (
            isinstance(schedule, (int, float)) and 0 <= schedule < float("inf")
        ):
            raise ValueError(
                "`schedule` must be a LearningRateSchedule or a number of at least 0. "
                f"Received: schedule={schedule}"
            )
        if not isinstance(warmup_steps, (int, np.integer)) or warmup_steps < 0:
            raise ValueError(
                "`warmup_steps` must be an integer of at least 0. "
                f"Received: warmup_steps={warmup_steps}"
            )
        self.schedule = schedule
        self.warmup_steps = int(warmup_steps)

    def __call__(self, step):
        """The learning rate of a step."""
        step = ops.cast(step, "float32")
        after = ops.maximum(step - self.warmup_steps, 0.0)
        rate = self.schedule(after) if callable(self.schedule) else self.schedule
        return rate * ops.minimum((step + 1) / (self.warmup_steps + 1), 1.0)

    def get_config(self):
        """The schedule and the steps."""
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "warmup_steps": self.warmup_steps,
        }

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["warmup_steps"])
