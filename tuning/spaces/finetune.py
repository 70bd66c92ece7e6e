"""A backbone of the zoo under a new head, all trained, the backbone more slowly.

Over: the rate, the backbone's multiple of it, weight decay, what the head drops and how
much, and how strongly the pictures are changed. All but the head's kind are numbers,
so that few trials compile.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from hornbook.recipes.augmentation.image_augmentation import ImageAugmentation
from hornbook.recipes.augmentation.random_crop import RandomCrop
from hornbook.recipes.layers.drop_connect import DropConnect
from hornbook.recipes.layers.maxout import Maxout
from hornbook.recipes.optimizers.layerwise_learning_rate import LayerwiseLearningRate
from hornbook.zoo.backbones.shipped_weights import load_backbone

EPOCHS = 10


def build(
    hp: Any,
    shape: tuple[int, ...] = (36, 36, 3),
    num_classes: int = 10,
    heads: Sequence[str] = ("dropout", "drop_connect"),
    backbones: Sequence[str] | None = None,
    augments: Sequence[str] = ("digits",),
    optimizers: Sequence[str] = ("adamw",),
) -> keras.Model:
    """Builds a classifier of pictures.

    Args:
        hp: `keras_tuner.HyperParameters`.
        shape: Of a picture; each side at least 32.
        num_classes: Integer, the number of classes.
        heads: Of "dropout", "drop_connect" and "maxout".
        backbones: Ids of the zoo. By default the letters' of as many channels.
        augments: Presets of `ImageAugmentation`.
        optimizers: Of "adamw" and "sgd".

    Returns:
        A compiled model from pixels, 0 to 255, to probabilities.
    """
    if backbones is None:
        backbones = [f"glyphnet.letters_{'grey' if shape[-1] == 1 else 'rgb'}"]
    backbone = load_backbone(_choose(hp, "backbone", backbones))
    size = backbone.input_shape[1]
    augment = ImageAugmentation.from_preset(
        _choose(hp, "augment", augments), strength=hp.Float("augment_strength", 0.05, 1)
    )
    head = build_head(hp, backbone.output_shape[-1], num_classes, heads)

    pictures = keras.Input(shape, dtype="uint8", name="picture")
    crops = augment(RandomCrop(size, size)(pictures))
    model = keras.Model(pictures, head(backbone(crops)), name="classifier")
    kind = _choose(hp, "optimizer", optimizers)
    learning_rate = hp.Float("learning_rate", 1e-4, 1e-1, sampling="log", default=1e-2)
    weight_decay = hp.Float("weight_decay", 1e-5, 1e-1, sampling="log")
    if kind == "sgd":
        optimizer = keras.optimizers.SGD(
            learning_rate, momentum=0.9, nesterov=True, weight_decay=weight_decay
        )
    else:
        optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay)
    multiplier = hp.Float(
        "backbone_lr_multiplier", 3e-3, 1, sampling="log", default=0.1
    )
    model.compile(
        LayerwiseLearningRate(optimizer, {"^head/": 1.0, ".*": multiplier}),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def build_head(
    hp: Any, features: int, num_classes: int, kinds: Sequence[str]
) -> keras.Model:
    """Builds a head that drops activations or weights, from features to classes."""
    kind = _choose(hp, "head", kinds)
    rate = hp.Float("dropout", 0.05, 0.7, default=0.3)
    output = layers.Dense(num_classes, activation="softmax", name="probabilities")
    inner = [DropConnect(output, rate)]
    if kind != "drop_connect":
        inner = [layers.Dropout(rate), output]
    if kind == "maxout":
        inner = [Maxout(64, pieces=2), *inner]
    return keras.Sequential([keras.Input((features,)), *inner], name="head")


def _choose(hp, name, values):
    """One of the values: a hyperparameter only where there are several."""
    return hp.Choice(name, list(values)) if len(values) > 1 else values[0]
