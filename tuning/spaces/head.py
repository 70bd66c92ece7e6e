"""The head alone, on features of a frozen backbone that are computed once.

Over: the head's kind and how much it drops, weight decay, the optimizer and its rate.
A trial takes about a second, since the backbone is not run again.
"""

from typing import Any

import keras
import numpy as np
from keras import layers

from hornbook.recipes.layers.drop_connect import DropConnect
from hornbook.recipes.layers.maxout import Maxout
from hornbook.zoo.backbones.open_backbone import open_backbone
from hornbook.zoo.data.arrays.crops import centre_crops

EPOCHS = 20


def backbone_of(channels: int) -> keras.Model:
    """The backbone whose features are used: change it here."""
    return open_backbone(f"glyphnet.letters_{'grey' if channels == 1 else 'rgb'}").model


def prepare(pictures: np.ndarray) -> np.ndarray:
    """Features of the middle of each picture."""
    backbone = backbone_of(pictures.shape[-1])
    crops = centre_crops(pictures, backbone.input_shape[1])
    return np.asarray(backbone.predict(crops, batch_size=256, verbose=0))


def build(
    hp: Any, shape: tuple[int, ...] = (128,), num_classes: int = 10
) -> keras.Model:
    """Builds a head.

    Args:
        hp: `keras_tuner.HyperParameters`.
        shape: Of the features.
        num_classes: Integer, the number of classes.

    Returns:
        A compiled model from features to probabilities.
    """
    kind = hp.Choice("head", ["dropout", "drop_connect", "maxout"])
    rate = hp.Float("dropout", 0.05, 0.7, default=0.3)
    pieces = hp.Choice("pieces", [2, 4], parent_name="head", parent_values=["maxout"])
    output = layers.Dense(num_classes, activation="softmax", name="probabilities")
    inner = [DropConnect(output, rate)]
    if kind != "drop_connect":
        inner = [layers.Dropout(rate), output]
    if kind == "maxout":
        inner = [Maxout(64, pieces), *inner]
    model = keras.Sequential([keras.Input(shape), *inner], name="head")
    model.compile(
        build_optimizer(hp), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def build_optimizer(hp: Any) -> keras.Optimizer:
    """AdamW or SGD, each with rates that suit it."""
    weight_decay = hp.Float("weight_decay", 1e-5, 1e-1, sampling="log")
    kind = hp.Choice("optimizer", ["adamw", "sgd"])
    with hp.conditional_scope("optimizer", ["adamw"]):
        adamw_learning_rate = hp.Float(
            "adamw_learning_rate", 1e-4, 1e-1, sampling="log", default=1e-2
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


def inference_model(head: keras.Model, shape: tuple[int, ...]) -> keras.Model:
    """The backbone and the head in one model.

    Args:
        head: What `build` made, trained.
        shape: Of a picture.
    """
    backbone = backbone_of(shape[-1])
    pictures = keras.Input(shape, dtype="uint8", name="picture")
    crops = layers.CenterCrop(*backbone.input_shape[1:3])(pictures)
    return keras.Model(pictures, head(backbone(crops)), name="classifier")
