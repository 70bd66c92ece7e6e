"""A multi-layer perceptron on a table of numbers.

Over: depth, width, ReLU or Maxout, the batch, dropout, weight decay, the optimizer and
its rate. Without `--data` it takes scikit-learn's table of breast tumours: 30 columns,
569 rows, two classes.
"""

import keras
from keras import layers

from hornbook.recipes.layers.maxout import Maxout

EPOCHS = 30


def data():
    """The table that scikit-learn brings."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    x, y = load_breast_cancer(return_X_y=True)
    options = {"test_size": 0.3, "random_state": 0, "stratify": y}
    x, x_test, y, y_test = train_test_split(x.astype("float32"), y, **options)
    return {"train": (x, y), "test": (x_test, y_test)}


def build(hp, shape=(30,), classes=2):
    """Builds a classifier of rows.

    Args:
        hp: `keras_tuner.HyperParameters`.
        shape: Of a row.
        classes: How many there are.

    Returns:
        A compiled model from rows, as they are, to probabilities.
    """
    unit = hp.Choice("unit", ["relu", "maxout"])
    width = hp.Choice("width", [16, 32, 64])
    depth = hp.Int("depth", 1, 3)
    dropout = hp.Float("dropout", 0.05, 0.6)
    hp.Choice("batch_size", [16, 32, 64])
    # Brings each column to mean 0 and variance 1, and keeps how in the model.
    scale = layers.BatchNormalization(
        momentum=0.9, center=False, scale=False, name="standardise"
    )
    model = keras.Sequential([keras.Input(shape), scale], name="mlp")
    for _ in range(depth):
        hidden = layers.Dense(width, activation="relu")
        model.add(hidden if unit == "relu" else Maxout(width, pieces=2))
        model.add(layers.Dropout(dropout))
    model.add(layers.Dense(classes, activation="softmax", name="probabilities"))
    model.compile(
        build_optimizer(hp), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def build_optimizer(hp):
    """AdamW or SGD, each with rates that suit it."""
    decay = hp.Float("decay", 1e-5, 1e-1, sampling="log")
    kind = hp.Choice("optimizer", ["adamw", "sgd"])
    with hp.conditional_scope("optimizer", ["adamw"]):
        adamw_rate = hp.Float("adamw_rate", 1e-4, 1e-1, sampling="log", default=3e-3)
    with hp.conditional_scope("optimizer", ["sgd"]):
        sgd_rate = hp.Float("sgd_rate", 1e-3, 1, sampling="log", default=1e-1)
    if kind == "adamw":
        return keras.optimizers.AdamW(adamw_rate, weight_decay=decay)
    return keras.optimizers.SGD(sgd_rate, momentum=0.9, weight_decay=decay)
