"""From pictures of any one size to what a backbone takes: resized, cropped, changed."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from hornbook.errors import InputError
from hornbook.recipes.augmentation.image_augmentation import ImageAugmentation
from hornbook.zoo.data.arrays.crops import random_crops
from hornbook.zoo.data.arrays.decode import shrink, to_channels

MARGIN = 4  # pixels around a crop of 32

View = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def picture_size(image_size: int) -> int:
    """The side of the pictures that crops of a size are cut from, in pixels.

    Example:

    >>> picture_size(32), picture_size(224)
    (36, 252)
    """
    return image_size + MARGIN * max(1, image_size // 32)


def resize_pictures(images: Any, size: int, channels: int) -> Any:
    """Brings an array of pictures to squares of one size, as files are when read.

    The short side becomes `size` and what is over is cut off on both sides.

    Args:
        images: `(examples, height, width)` or `(examples, height, width, channels)`,
            uint8, or floats from 0 to 255; or `DiskImages`.
        size: Integer. Side of a square in pixels.
        channels: 1 for grey, 3 for RGB.

    Returns:
        What was given where it fits, else an array `(examples, size, size, channels)`.

    Raises:
        InputError: if they are no pictures, or floats of other channels.

    Example:

    >>> resize_pictures(np.zeros((2, 48, 40), "uint8"), 36, 3).shape
    (2, 36, 36, 3)
    """
    shape = tuple(getattr(images, "shape", ()))
    if len(shape) not in (3, 4):
        raise InputError(
            "Pictures must be an array (examples, height, width, channels). Received: "
            f"shape={shape or type(images).__name__}"
        )
    if shape[1:] == (size, size, channels):
        return images
    if images.dtype == np.uint8:
        made = np.empty((len(images), size, size, channels), "uint8")
        for place in range(len(images)):
            picture = to_channels(np.asarray(images[place]), channels)
            made[place] = shrink(picture, size)
        return made
    if len(shape) != 4 or shape[-1] != channels:
        raise InputError(
            f"The backbone takes pictures of {channels} channels; only uint8 pictures "
            f"are converted. Received: {images.dtype} of shape={shape}"
        )
    layer = keras.layers.Resizing(size, size, crop_to_aspect_ratio=True, antialias=True)
    parts = (
        keras.ops.convert_to_numpy(layer(images[start : start + 256]))
        for start in range(0, len(images), 256)
    )
    return np.concatenate(list(parts))


def build_view(augment: str | None, size: int) -> View:
    """A function from `(pictures, rng)` to a random crop of each, perhaps changed.

    Args:
        augment: A preset of `ImageAugmentation`, or None.
        size: Integer. Side of a crop in pixels.

    Returns:
        Function from an array `(batch, height, width, channels)` and a
        `numpy.random.Generator` to an array `(batch, size, size, channels)`.
    """
    if augment is None:
        return lambda images, rng: random_crops(images, rng, size)
    layer = ImageAugmentation.from_preset(augment, height=size, width=size)

    def view(images, rng):
        crops = random_crops(images, rng, size)
        # From this generator, and not the layer's, a resumed run draws the same.
        draws = rng.random((len(crops), layer.DRAWS), dtype="float32")
        return keras.ops.convert_to_numpy(layer(crops, training=True, draws=draws))

    return view
