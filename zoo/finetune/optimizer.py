"""The optimizer of a training, from its settings."""

from typing import TYPE_CHECKING, Any

import keras

from hornbook.recipes.optimizers.layerwise_learning_rate import LayerwiseLearningRate
from hornbook.zoo.finetune.schedule import CosinePhases

if TYPE_CHECKING:
    from hornbook.zoo.finetune.fine_tune import Settings

MORE = {"sgd": {"momentum": 0.9, "nesterov": True}}  # what Keras leaves out by default
NOT_DECAYED = ("bias", "gamma", "beta")


def build_optimizer(
    settings: "Settings", learning_rate: Any, phase_steps: list[int]
) -> LayerwiseLearningRate:
    """Makes the optimizer, with a multiplier of 1 for each weight.

    Args:
        settings: `Settings`.
        learning_rate: Float, or a Keras schedule over the steps of all phases.
        phase_steps: Integers. Batches of each phase, over which a float falls; empty
            where something else sets the rate.
    """
    if isinstance(settings.optimizer, str):
        inner = _by_name(settings, learning_rate, phase_steps)
    else:
        kind, config = type(settings.optimizer), settings.optimizer.get_config()
        inner = kind.from_config(config)
    if inner.weight_decay:
        inner.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
    return LayerwiseLearningRate(inner, multipliers={})


def _by_name(settings, learning_rate, phase_steps):
    every = settings.gradient_accumulation_steps
    if not callable(learning_rate) and phase_steps:
        learning_rate = CosinePhases(
            learning_rate, phase_steps, settings.warmup_ratio, every
        )
    # The modules are looked up by attribute, so that a name stands for Keras's class.
    names = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop"}
    kind = getattr(
        keras.optimizers, names.get(settings.optimizer, settings.optimizer.title())
    )
    config = {
        "learning_rate": learning_rate,
        "use_ema": settings.ema_momentum is not None,
        "ema_momentum": settings.ema_momentum or 0.99,
        "gradient_accumulation_steps": every if every > 1 else None,
        **MORE.get(settings.optimizer, {}),
    }
    for name in ("weight_decay", "global_clipnorm"):
        if getattr(settings, name) is not None:
            config[name] = getattr(settings, name)
    return kind(**config)


def carry_over(old: LayerwiseLearningRate, new: LayerwiseLearningRate) -> None:
    """Gives an optimizer what another knows of the weights that both train.

    Moments, moving averages and the number of steps, by the names of the variables,
    which hold the weights' paths.

    Args:
        old: A built Keras optimizer.
        new: Another one of the same kind.
    """
    known = {variable.name: variable for variable in old.variables}
    for variable in new.variables:
        value = known.get(variable.name)
        if value is not None and value.shape == variable.shape:
            variable.assign(keras.ops.convert_to_numpy(value))


def move_to_step(optimizer: LayerwiseLearningRate, step: int) -> None:
    """Sets an optimizer's number of steps: where a phase begins in the schedule."""
    for variable in optimizer.variables:
        if variable.name == "iteration":
            variable.assign(step)
