"""The head that is put on a backbone."""

import keras
from keras import layers

DROPOUT = 0.3


def build_head(features, classes, activation="softmax", dropout=DROPOUT):
    """Dropout and a dense layer, from `features` numbers to `classes`.

    Args:
        features: Integer. How many numbers come in.
        classes: Integer. How many go out.
        activation: String. Activation of the output.
        dropout: Float. Rate of the dropout before the dense layer.

    Returns:
        A `keras.Sequential` named "head".

    Example:

    >>> build_head(128, 10).output_shape
    (None, 10)
    """
    return keras.Sequential(
        [
            keras.Input((features,)),
            layers.Dropout(dropout, name="dropout"),
            layers.Dense(classes, activation=activation, name="probabilities"),
        ],
        name="head",
    )
