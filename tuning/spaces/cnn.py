"""A small convolutional network that is trained from scratch on images.

It searches depth, width, kernel size, BatchNormalization, batch size, the optimizer and
its learning rate, dropout, weight decay, and the strength of the augmentation. Each new
shape is compiled; other learning rates, dropout rates and the like are not.
"""

import keras
import keras_tuner
from keras import layers

from hornbook.recipes.augmentation.image_augmentation import ImageAugmentation

EPOCHS = 30


def build(
    hp: keras_tuner.HyperParameters,
    shape: tuple[int, ...] = (36, 36, 3),
    num_classes: int = 10,
    augment: str = "digits",
) -> keras.Model:
    """Builds an image classifier.

    Args:
        hp: A `keras_tuner.HyperParameters`.
        shape: Tuple of integers, the shape of an image.
        num_classes: Integer, the number of classes.
        augment: String, a preset of `ImageAugmentation`.

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
