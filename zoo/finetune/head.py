"""The head that is put on a backbone."""

import keras
from keras import layers


def build_head(
    features: int,
    classes: int,
    activation: str = "softmax",
    dropout: float = 0.3,
    scale: tuple[float, ...] = (),
    offset: tuple[float, ...] = (),
) -> keras.Sequential:
    """Dropout and a dense layer, from `features` numbers to `classes`.

    Args:
        features: Integer. How many numbers come in.
        classes: Integer. How many go out.
        activation: String. Activation of the output.
        dropout: Float. Rate of the dropout before the dense layer.
        scale: Floats that the outputs are multiplied by, or none.
        offset: Floats that are added to them then.

    Returns:
        A `keras.Sequential` named "head".

    Example:

    >>> build_head(128, 10).output_shape
    (None, 10)
    """
    parts = [
        keras.Input((features,)),
        layers.Dropout(dropout, name="dropout"),
        layers.Dense(classes, activation=activation, name="probabilities"),
    ]
    if scale:
        parts.append(layers.Rescaling(list(scale), list(offset), name="units"))
    return keras.Sequential(parts, name="head")
