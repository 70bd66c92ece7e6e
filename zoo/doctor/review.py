"""review: what is wrong with a model, before it is trained."""

from hornbook.zoo.doctor import architecture_rules, data_rules, training_rules  # noqa: F401
from hornbook.zoo.doctor.finding import RULES, apply
from hornbook.zoo.doctor.model_inspection import Look


def review(model, data=None, validation_data=None, batch_size=None):
    """Looks a model over: its layers, its initial values, its loss, its data.

    Nothing is trained and nothing of the model changes. A model of Keras layers is run
    once on a few examples, or on noise where there are none, in inference. Rules that
    compare activations, inputs or labels need data. A rule is silent where it cannot
    tell: what a subclassed model does between its layers is not seen.

    Args:
        model: A built `keras.Model`, or any with `data`. The rules about the loss and
            the optimizer need it compiled.
        data: Arrays `x` or `(x, y)`, or an iterable of batches of them, of which the
            first is looked at. `x` may be a dict or a list by input.
        validation_data: The same, to find examples that are in both; arrays only.
        batch_size: The batch size to come. Known where `data` comes in batches.

    Returns:
        A list of `Finding`, empty where nothing is wrong, in the order of the rules.
        `print` one to read it.

    Raises:
        ValueError: If the model is not built and there are no data, or they are empty.

    Example:

    >>> import keras
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
    return apply(RULES, Look(model, data, validation_data, batch_size))
