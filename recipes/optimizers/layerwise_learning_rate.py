# SPDX-License-Identifier: Apache-2.0
"""LayerwiseLearningRate: one learning rate, and a multiplier for each weight.

What:    wraps any Keras optimizer and scales its step, weight by weight.
When:    fine-tuning: smaller rates for earlier layers; layers that are unfrozen later.
Not for: `Ftrl` and `ScheduleFreeAdamW`, whose weights are not sums of their steps.
Source:  Howard and Ruder, "Universal Language Model Fine-tuning for Text
         Classification", ACL 2018 (discriminative fine-tuning, gradual unfreezing).
Differs: all layers share one learning rate, so schedules and callbacks keep the ratios.
Needs:   keras>=3.12.
"""

import math
import re
from collections.abc import Callable, Sequence

import keras
from keras import ops

_REFUSED = {
    "LossScaleOptimizer": "wrap the optimizer inside it; `compile` wraps this one",
    "MultiOptimizer": "it has no single learning rate",
    "ScheduleFreeAdamW": "its weights are averages, not sums of its steps",
}


@keras.saving.register_keras_serializable(package="hornbook")
class LayerwiseLearningRate(keras.optimizers.Optimizer):
    """Wraps an optimizer so that each weight takes a multiple of its step.

    For each weight, `w <- w + multiplier * (step(w) - w)`, where `step` is everything
    that the wrapped optimizer does to it: momentum, update, decoupled weight decay. If
    the update is proportional to the learning rate, this is the learning rate
    `multiplier * learning_rate`. Scaling the gradient would not be: Adam divides the
    scale out again.

    - Clipping, gradient accumulation and schedules stay with the wrapped optimizer,
      so a global norm is over all variables.
    - A multiplier of 1 leaves the step unchanged, bit for bit. 0 leaves the weight
      unchanged, even if the step is NaN; the optimizer's moments are still updated.
    - The multipliers are one variable: setting them, at any time, neither retraces
      the training step nor changes other state. They are saved in the order of
      `model.trainable_variables`, since Keras may change paths when it loads a model.
    - A constraint is applied to the whole step, then to the scaled one. The moving
      average is of constrained weights, which Keras's is not.

    Args:
        optimizer: A Keras optimizer, or its name. Its moving average of the weights
            and its loss scale are taken over; the rest works as before.
        multipliers: The number of at least 0 by which to multiply the step of each
            trainable variable. One of:

            - A dict from regular expressions to numbers. The first that is found in a
              variable's `path` (`re.search`) counts; if none is, the number is 1.
            - A function from a variable to a number.
            - A list with one number for each trainable variable, in order.
        name: Name of the optimizer. Defaults to `None`.

    Attributes:
        multipliers: The list of numbers, once the optimizer is built. Can be set to
            any of the above, also during `fit`: in a callback's `on_epoch_begin`.

    Raises:
        ValueError: If the optimizer cannot be wrapped, a number is negative or not
            finite or, when building, a regular expression applies to no variable.

    Example:
    >>> import keras
    >>> import numpy as np
    >>> model = keras.Sequential(
    ...     [keras.layers.Dense(8, name="backbone"), keras.layers.Dense(1, name="head")]
    ... )
    >>> optimizer = LayerwiseLearningRate(keras.optimizers.AdamW(), {"backbone": 0.0})
    >>> model.compile(optimizer, "mse")
    >>> x, y = np.ones((8, 4)), np.ones((8, 1))
    >>> history = model.fit(x, y, verbose=0)  # trains the head alone
    >>> optimizer.multipliers
    [0.0, 0.0, 1.0, 1.0]
    >>> optimizer.multipliers = {"backbone": 0.125}
    >>> history = model.fit(x, y, verbose=0)  # trains both
    """

    def __init__(
        self,
        optimizer: str | keras.Optimizer,
        multipliers: dict[str, float]
        | Callable[[keras.Variable], float]
        | Sequence[float],
        name: str | None = None,
    ) -> None:
        optimizer = keras.optimizers.get(optimizer)
        for kind, reason in _REFUSED.items():
            if isinstance(optimizer, getattr(keras.optimizers, kind, ())):
                raise ValueError(
                    f"Cannot wrap a {kind}: {reason}. Received: optimizer={optimizer}"
                )
        super().__init__(
            learning_rate=0.0,  # not used: the wrapped optimizer has the rate
            use_ema=optimizer.use_ema,
            ema_momentum=optimizer.ema_momentum,
            ema_overwrite_frequency=optimizer.ema_overwrite_frequency,
            loss_scale_factor=optimizer.loss_scale_factor,
            name=name,
        )
        optimizer.use_ema = False  # the average has to be of the scaled weights
        self.optimizer = optimizer
        self._multipliers, self._numbers = _checked(multipliers), None

    def build(self, variables):
        """Creates the variables, the wrapped optimizer's too."""
        if self.built:
            return
        numbers = _one_for_each(variables, self._multipliers)
        self.optimizer.build(variables)
        super().build(variables)
        self._numbers = self.add_variable(
            (len(numbers),), keras.initializers.Constant(numbers), name="multipliers"
        )

    @property
    def multipliers(self):
        """The number for each trainable variable; before building, the argument."""
        if self.built:
            return ops.convert_to_numpy(self._numbers).tolist()
        return self._multipliers

    @multipliers.setter
    def multipliers(self, multipliers):
        self._multipliers = _checked(multipliers)
        if self.built:
            self._numbers.assign(_one_for_each(self._trainable_variables, multipliers))

    def apply(self, grads, trainable_variables=None):
        """Takes the wrapped optimizer's step and puts a multiple in its place."""
        if not self.built and trainable_variables is not None:
            self.build(list(trainable_variables))
        variables = self._trainable_variables
        averages = [None] * len(variables)
        if self.use_ema:
            averages = self._model_variables_moving_average
            step, every = self.iterations, self.ema_overwrite_frequency
            rate = ops.where(ops.equal(step, 0), 1.0, 1.0 - self.ema_momentum)
            overwrite = bool(every) and ops.equal((step + 1) % every, 0)
        before = [ops.copy(variable) for variable in variables]

        self.optimizer.loss_scale_factor = self.loss_scale_factor
        self.optimizer.apply(grads, trainable_variables)

        numbers = ops.unstack(ops.convert_to_tensor(self._numbers), len(variables))
        for variable, old, number, average in zip(
            variables, before, numbers, averages, strict=True
        ):
            value = _scaled(variable, old, number)
            if average is not None:
                # Rounds so that a weight that stays equals its average.
                mean = average + ops.cast(rate, average.dtype) * (value - average)
                average.assign(mean)
                value = ops.where(overwrite, mean, value)
            variable.assign(value)

    @property
    def variables(self):
        """Those of the wrapper, then those of the wrapped optimizer."""
        return self._variables + self.optimizer.variables

    def set_weights(self, weights):
        """Sets all `variables`."""
        own = len(self._variables)
        super().set_weights(weights[:own])
        self.optimizer.set_weights(weights[own:])

    @property
    def learning_rate(self):
        """The wrapped optimizer's rate: that of a weight whose multiplier is 1."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.optimizer.learning_rate = learning_rate

    @property
    def iterations(self):
        """The wrapped optimizer's number of steps."""
        return self.optimizer.iterations

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Calls the same method of the wrapped optimizer."""
        self.optimizer.exclude_from_weight_decay(var_list, var_names)

    def get_config(self):
        """The wrapped optimizer as it was given, and the current multipliers."""
        optimizer = keras.saving.serialize_keras_object(self.optimizer)
        if self.use_ema:
            optimizer["config"]["use_ema"] = True
        return {
            "optimizer": optimizer,
            "multipliers": keras.saving.serialize_keras_object(self.multipliers),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The inverse of `get_config`."""
        parts = {
            key: keras.saving.deserialize_keras_object(config[key], custom_objects)
            for key in ("optimizer", "multipliers")
        }
        return cls(**{**config, **parts})


def _scaled(variable, old, multiplier):
    """What the variable becomes, having just taken a whole step from `old`."""
    new = ops.convert_to_tensor(variable)
    if getattr(variable, "overwrite_with_gradient", False):
        return new  # float8 statistics: measured, not trained
    value = old + ops.cast(multiplier, variable.dtype) * (new - old)
    if variable.constraint is not None:
        value = variable.constraint(value)
    return ops.where(multiplier == 0, old, ops.where(multiplier == 1, new, value))


def _checked(multipliers):
    """The multipliers, unless they are invalid."""
    if callable(multipliers):
        return multipliers
    numbers = multipliers.values() if isinstance(multipliers, dict) else multipliers
    if not isinstance(multipliers, (dict, list, tuple)) or not all(
        math.isfinite(number) and number >= 0 for number in numbers
    ):
        raise ValueError(
            "`multipliers` must be a dict, a function or a list, of finite numbers of "
            f"at least 0. Received: multipliers={multipliers}"
        )
    return multipliers


def _one_for_each(variables, multipliers):
    """A list with the multiplier of each variable."""
    if callable(multipliers):
        return _checked([float(multipliers(variable)) for variable in variables])
    if not isinstance(multipliers, dict):
        if len(multipliers) != len(variables):
            raise ValueError(
                f"There are {len(variables)} trainable variables, and each needs a "
                f"multiplier. Received: multipliers={multipliers}"
            )
        return list(multipliers)
    patterns = [re.compile(pattern) for pattern in multipliers]
    winners = [
        next((p.pattern for p in patterns if p.search(v.path)), None) for v in variables
    ]
    if unused := [pattern for pattern in multipliers if pattern not in winners]:
        raise ValueError(
            f"{unused} match no trainable variable, or only ones that an earlier "
            f"pattern matches too. The first paths: {[v.path for v in variables[:8]]}. "
            f"Received: multipliers={multipliers}"
        )
    return [multipliers.get(pattern, 1.0) for pattern in winners]
