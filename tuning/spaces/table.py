"""A multi-layer perceptron on a table of numbers.

It searches depth, width, ReLU or Maxout, batch size, dropout, weight decay, and the
optimizer and its learning rate. Without `--data` it uses the breast cancer data of
scikit-learn: 569 rows, 30 columns, two classes.
"""

import keras
import keras_tuner
import numpy as np
from keras import layers

from hornbook.recipes.layers.maxout import Maxout

EPOCHS = 30


def data() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns the breast cancer data of scikit-learn, in two parts."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    x, y = load_breast_cancer(return_X_y=True)
    options = {"test_size": 0.3, "random_state": 0, "stratify": y}
    x, x_test, y, y_test = train_test_split(x.astype("float32"), y, **options)
    return {"train": (x, y), "test": (x_test, y_test)}


def build(
    hp: keras_tuner.HyperParameters,
    shape: tuple[int, ...] = (30,),
    num_classes: int = 2,
) -> keras.Model:
    """Builds a classifier of the rows of a table.

    Args:
        hp: A `keras_tuner.HyperParameters`.
        shape: Tuple of integers, the shape of a row.
        num_classes: Integer, the number of classes.

    Returns:
        A compiled model from rows, without any scaling, to probabilities.
    """
    unit = hp.Choice("unit", ["relu", "maxout"])
    width = hp.Choice("width", [16, 32, 64])
    depth = hp.Int("depth", 1, 3)
    dropout = hp.Float("dropout", 0.05, 0.6)
    hp.Choice("batch_size", [16, 32, 64])
    # Scales each column to mean 0 and variance 1, with what it learns of the data.
    scale = layers.BatchNormalization(
        momentum=0.9, center=False, scale=False, name="standardise"
    )
    model = keras.Sequential([keras.Input(shape), scale], name="mlp")
    for _ in range(depth):
        hidden = layers.Dense(width, activation="relu")
        model.add(hidden if unit == "relu" else Maxout(width, pieces=2))
        model.add(layers.Dropout(dropout))
    model.add(layers.Dense(num_classes, activation="softmax", name="probabilities"))
    model.compile(
        build_optimizer(hp), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def build_optimizer(hp: keras_tuner.HyperParameters) -> keras.optimizers.Optimizer:
    """Returns AdamW or SGD, each with a suitable range of learning rates."""
    weight_decay = hp.Float("weight_decay", 1e-5, 1e-1, sampling="log")
    kind = hp.Choice("optimizer", ["adamw", "sgd"])
    with hp.conditional_scope("optimizer", ["adamw"]):
        adamw_learning_rate = hp.Float(
            "adamw_learning_rate", 1e-4, 1e-1, sampling="log", default=3e-3
        )
    with hp.conditional_scope("optimizer", ["sgd"]):
        sgd_learning_rate = hp.Float(
            "sgd_learning_rate", 1e-3, 1, sampling="log", default=1e-1
        )
    if kind == "adamw":
        return keras.optimizers.AdamW(adamw_learning_rate, weight_decay=weight_decay)
    return keras.optimizers.SGD(
        sgd_learning_rate, momentum=0.9, weight_decay=weight_decay
    )
