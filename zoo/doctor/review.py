"""review: finds problems in a model before it is trained."""

from typing import Any

import keras

from hornbook.zoo.doctor import architecture_rules, data_rules, training_rules  # noqa: F401
from hornbook.zoo.doctor.finding import RULES, Finding, apply
from hornbook.zoo.doctor.model_inspection import ModelInspection


def review(
    model: keras.Model,
    data: Any = None,
    validation_data: Any = None,
    batch_size: int | None = None,
) -> list[Finding]:
    """Reviews a model: its layers, its initial values, its loss and its data.

    Nothing is trained, and the model is not changed. It is called once in inference
    mode on a few examples, or on noise without data. Rules that compare activations,
    inputs or labels need data. A rule finds nothing if it cannot be sure: what a
    subclassed model does between its layers is unknown.

    Args:
        model: A built `keras.Model`, or any model if `data` is given. The rules on the
            loss and the optimizer need a compiled model.
        data: Arrays `x` or `(x, y)`, or an iterable of batches, of which the first is
            used. `x` may be a dict or a list of inputs.
        validation_data: Validation arrays, to find examples that are in both sets.
        batch_size: Batch size of the training. Defaults to that of `data`, if it comes
            in batches.

    Returns:
        A list of `Finding` in the order of the rules, empty if there are no problems.
        `print` a finding to read it.

    Raises:
        ValueError: If the model is not built and there is no data, or it is empty.

    Example:

    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((4,)),
    ...         keras.layers.Dense(8, activation="relu", kernel_initializer="zeros"),
    ...         keras.layers.Dense(3, activation="softmax", name="head"),
    ...     ]
    ... )
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> model.compile("adam", loss)
    >>> [finding.rule for finding in review(model)]
    ['symmetric_kernel', 'logits']
    """
    return apply(RULES, ModelInspection(model, data, validation_data, batch_size))
