"""A small convolutional network, trained from scratch on pictures.

Over: depth, width, kernel size, BatchNormalization, the batch, the optimizer and its
rate, dropout, weight decay, and how strongly the pictures are changed. Each new shape
compiles; the numbers do not.
"""

import keras
from keras import layers

from hornbook.recipes.augmentation.image_augmentation import ImageAugmentation

EPOCHS = 30


def build(hp, shape=(36, 36, 3), classes=10, augment="digits"):
    """Builds a classifier of pictures.

    Args:
        hp: `keras_tuner.HyperParameters`.
        shape: Of a picture.
        classes: How many there are.
        augment: A preset of `ImageAugmentation`.

    Returns:
        A compiled model from pixels, 0 to 255, to probabilities.
    """
    depth = hp.Int("depth", 2, 3)
    width = hp.Choice("width", [8, 16, 32])
    kernel = hp.Choice("kernel", [3, 5])
    is_normalised = hp.Boolean("batch_norm", default=True)
    strength = hp.Float("augment_strength", 0.05, 1)
    hp.Choice("batch_size", [16, 32, 64])

    model = keras.Sequential(
        [
            keras.Input(shape, dtype="uint8", name="picture"),
            ImageAugmentation.from_preset(augment, strength=strength),
            layers.Rescaling(1 / 127.5, offset=-1),
        ],
        name="cnn",
    )
    for block in range(depth):
        filters = width * 2**block
        model.add(layers.Conv2D(filters, kernel, padding="same", strides=2))
        if is_normalised:
            model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dropout(hp.Float("dropout", 0.05, 0.6)))
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
