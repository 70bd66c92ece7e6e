"""A backbone small enough to be trained in a second, and data that it learns."""

import keras
import numpy as np
from keras import layers

from hornbook.zoo.backbones import Backbone


def build(dense=(6, 5, 4), norm=True):
    """A backbone of three blocks over 4×4 pictures, the same each time."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input((4, 4, 1), name="image")
    x = layers.Rescaling(1 / 64)(inputs)
    groups = []
    for number, width in enumerate(dense):
        x = layers.Conv2D(width, 2, name=f"conv{number}")(x)
        names = [f"conv{number}/kernel", f"conv{number}/bias"]
        if norm:
            x = layers.BatchNormalization(name=f"norm{number}")(x)
            names += [f"norm{number}/gamma", f"norm{number}/beta"]
        x = layers.ReLU()(x)
        groups.append(names)
    x = layers.GlobalAveragePooling2D()(x)
    return Backbone("tiny", keras.Model(inputs, x, name="tiny"), groups, {})


def patterns():
    """48 pictures of three kinds of stripes under noise, and their labels."""
    rng = np.random.default_rng(0)
    y = np.arange(48) % 3
    lines = np.arange(4) % 2 * np.ones((4, 1))
    shapes = 180 * np.stack([lines, lines.T, lines * lines.T])[..., None]
    return (rng.integers(0, 60, (48, 4, 4, 1)) + shapes[y]).astype("uint8"), y
