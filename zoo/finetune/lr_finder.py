"""The learning rate at which the head's training loss falls fastest."""

from typing import TYPE_CHECKING, Any

import keras

from hornbook.errors import InputError
from hornbook.progress import Progress
from hornbook.recipes.optimizers.find_learning_rate import find_learning_rate
from hornbook.zoo.finetune.inputs import Arrays
from hornbook.zoo.finetune.optimizer import build_optimizer
from hornbook.zoo.finetune.task import Task

if TYPE_CHECKING:
    from hornbook.zoo.finetune.fine_tune import Settings

FOUND_BY = "find_learning_rate on the head: where its training loss falls fastest"


def find_rate(
    head: keras.Model,
    task: Task,
    features: Arrays,
    settings: "Settings",
    progress: Progress,
) -> float:
    """Trains the head for a moment while the rate rises, and sets it back.

    Args:
        head: Model from features to the task's outputs.
        task: The `Task`.
        features: `Arrays` of the frozen backbone's features, to train on.
        settings: `Settings`.
        progress: A `Progress`.

    Returns:
        Float of two digits.

    Raises:
        InputError: if the loss decreases at no rate.
    """
    curve = rate_curve(head, task, features, settings, progress)
    if curve.steepest is None:
        raise InputError(
            "The learning-rate finder saw no decrease in loss; pass a number. "
            "Received: learning_rate=auto"
        )
    return float(f"{curve.steepest:.2g}")


def rate_curve(
    head: keras.Model,
    task: Task,
    features: Arrays,
    settings: "Settings",
    progress: Progress,
) -> Any:
    """The head's training loss while the learning rate rises, in one short run.

    Args:
        head: As for `find_rate`, like the rest.
        task: The `Task`.
        features: To train on.
        settings: `Settings`.
        progress: A `Progress`.

    Returns:
        What `find_learning_rate` returns.
    """
    model = keras.Model(head.inputs, head.outputs)
    before = [keras.ops.convert_to_numpy(each) for each in model.variables]
    optimizer = build_optimizer(settings, 1e-3, [])
    model.compile(optimizer, **task.compiled(settings.label_smoothing))
    with progress.stage("find rate") as update:
        curve = find_learning_rate(model, features.batches(settings.seed), verbose=0)
        update(len(curve.learning_rates), total=len(curve.learning_rates))
    # Dropout's random state too, which `set_weights` leaves out.
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)
    return curve
