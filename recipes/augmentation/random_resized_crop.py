# SPDX-License-Identifier: Apache-2.0
"""RandomResizedCrop: a crop of random size and shape, resized to one size.

What:    cuts a box of random area and aspect ratio out of each image and resamples it
         once, with antialiasing.
When:    training on photographs, whose objects come in many sizes.
Not for: images that must be seen whole, such as digits; bounding boxes.
Source:  Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 6.
         Semantics of torchvision's `RandomResizedCrop`.
Differs: from torchvision: the ten tries for a box are drawn at once, which has the same
         distribution.
Needs:   keras>=3.12; tensorflow, as the backend, for tf.data.
"""

import math
from typing import Any

import keras
from keras import ops

TRIES = 10


@keras.saving.register_keras_serializable(package="hornbook")
class RandomResizedCrop(keras.layers.Layer):
    """Crops a random box of each image and resizes it; at inference a central one.

    In training, as in torchvision, a box gets an area uniform in `scale`, as a
    fraction of the image's, and an aspect ratio (width by height) log-uniform in
    `ratio`. Its sides are rounded to whole pixels, and every position in the image is
    equally likely. The first of ten such boxes that fits is taken. If none fits, it is
    the largest central box whose ratio is in `ratio`. Each image has its own box. The
    filter uses only pixels in the box, as if it were cut out first.

    In inference, as usual, the image is resized so that the crop takes the fraction
    `crop_pct` of the limiting side, and cropped at the centre: for 224 × 224 and 0.875
    that is a short side of 256.

    Both are one resampling by a triangle filter (bilinear, as wide as the shrinking
    needs): a small matrix for the rows of each image and one for its columns. It is
    computed in float32. Integer images keep their dtype, their values rounded; others
    come in the layer's compute dtype.

    The same seed gives the same crops, call by call. It can be used in a model or, on
    the TensorFlow backend, in `dataset.map`, before or after `batch`; there several
    `num_parallel_calls` share the draws in any order. Images of unequal sizes must be
    cropped before they are batched. Small images are enlarged.

    Args:
        height: Int, the height of the result.
        width: Int, the width of the result.
        scale: Two numbers in (0, 1], the lowest and highest fraction of the area.
            Defaults to `(0.08, 1.0)`.
        ratio: Two positive numbers, the lowest and highest ratio of width to height.
            Defaults to `(3 / 4, 4 / 3)`.
        crop_pct: Float in (0, 1], the fraction of the image's side that the crop takes
            in inference. Defaults to 0.875.
        seed: Int, the seed of the boxes. Defaults to `None`.
        **kwargs: The arguments of every Keras layer, such as `name` and `dtype`.

    Call arguments:
        images: Tensor `(batch, image_height, image_width, channels)`, or one image
            `(image_height, image_width, channels)`. The batch may be empty.
        training: Bool, whether to crop at random. Outside a model, the default is
            `True`.

    Returns:
        Tensor `(batch, height, width, channels)`, or one image
        `(height, width, channels)`.

    Raises:
        ValueError: if an argument is none of the above, or if Keras is set to channels
            first.

    Example:
    >>> layer = RandomResizedCrop(24, 24, scale=(0.25, 1), seed=0)
    >>> tuple(layer(keras.ops.ones((8, 32, 48, 3))).shape)
    (8, 24, 24, 3)
    >>> tuple(layer(keras.ops.ones((32, 48, 3), "uint8"), training=False).shape)
    (24, 24, 3)
    """

    def __init__(
        self,
        height: int,
        width: int,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        crop_pct: float = 0.875,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, size in (("height", height), ("width", width)):
            if not isinstance(size, int) or size < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={size}"
                )
        for name, pair, most in (("scale", scale, 1), ("ratio", ratio, math.inf)):
            if len(pair) != 2 or not 0 < pair[0] <= pair[1] <= most:
                raise ValueError(
                    f"`{name}` must be two numbers above 0 and up to {most}, the lower "
                    f"first. Received: {name}={pair}"
                )
        if not 0 < crop_pct <= 1:
            raise ValueError(
                f"`crop_pct` must be above 0 and up to 1. Received: crop_pct={crop_pct}"
            )
        if keras.config.image_data_format() != "channels_last":
            raise ValueError(
                "`RandomResizedCrop` takes images with the channels last. Received: "
                f"image_data_format={keras.config.image_data_format()}"
            )
        self.height = height
        self.width = width
        self.scale = tuple(scale)
        self.ratio = tuple(ratio)
        self.crop_pct = crop_pct
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=True):
        """Draws the boxes and resamples them."""
        self.compute_output_shape(images.shape)
        if len(images.shape) == 3:
            return self.call(images[None], training)[0]
        batch, image_height, image_width, _ = ops.shape(images)
        if training:
            top, left, height, width = self._boxes(batch, image_height, image_width)
            inside_rows, inside_columns = (top, top + height), (left, left + width)
        else:
            top, left, height, width = self._centre(batch, image_height, image_width)
            inside_rows, inside_columns = (0, image_height), (0, image_width)
        rows = _triangles(top, height, self.height, image_height, *inside_rows)
        columns = _triangles(left, width, self.width, image_width, *inside_columns)
        return _resample(images, rows, columns, self.compute_dtype)

    def _boxes(self, batch, image_height, image_width):
        """Top, left, height and width, each `(batch, 1)` whole numbers in float32."""

        def draw(count, low, high):
            return keras.random.uniform(
                (batch, count), low, high, "float32", self.seed_generator
            )

        image_height = ops.cast(image_height, "float32")
        image_width = ops.cast(image_width, "float32")
        low, high = self.ratio
        area = draw(TRIES, *self.scale) * image_height * image_width
        ratio = ops.exp(draw(TRIES, math.log(low), math.log(high)))
        height = ops.round(ops.sqrt(area / ratio))
        width = ops.round(ops.sqrt(area * ratio))
        fits = (height > 0) & (height <= image_height)
        fits = fits & (width > 0) & (width <= image_width)
        first = ops.argmax(ops.cast(fits, "int32"), axis=1, keepdims=True)
        none = ops.logical_not(ops.any(fits, axis=1, keepdims=True))

        widest = ops.minimum(image_width, ops.round(image_height * high))
        highest = ops.minimum(image_height, ops.round(image_width / low))
        width = ops.where(none, widest, ops.take_along_axis(width, first, axis=1))
        height = ops.where(none, highest, ops.take_along_axis(height, first, axis=1))

        def start(margin):
            drawn = ops.floor(draw(1, 0, 1) * (margin + 1))
            return ops.where(none, margin // 2, ops.minimum(drawn, margin))

        return start(image_height - height), start(image_width - width), height, width

    def _centre(self, batch, image_height, image_width):
        """The same for the box in inference, whose numbers are not integers."""
        ones = ops.ones((batch, 1), "float32")
        image_height = ones * ops.cast(image_height, "float32")
        image_width = ones * ops.cast(image_width, "float32")
        pixel = self.crop_pct * ops.minimum(
            image_height / self.height, image_width / self.width
        )
        height, width = pixel * self.height, pixel * self.width
        return (image_height - height) / 2, (image_width - width) / 2, height, width

    def compute_output_shape(self, input_shape):
        """Shape of the crops."""
        if len(input_shape) not in (3, 4):
            raise ValueError(
                "`RandomResizedCrop` takes images of shape (batch, height, width, "
                "channels), or one without a batch. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        *batch, _, _, channels = input_shape
        return (*batch, self.height, self.width, channels)

    def compute_output_spec(self, images, training=True):
        """Shape and dtype of the crops: integers stay, others are computed."""
        shape = self.compute_output_shape(images.shape)
        return keras.KerasTensor(shape, dtype=_dtype(images, self.compute_dtype))

    def get_config(self):
        """Returns the arguments."""
        return {
            **super().get_config(),
            "height": self.height,
            "width": self.width,
            "scale": self.scale,
            "ratio": self.ratio,
            "crop_pct": self.crop_pct,
            "seed": self.seed,
        }


def _triangles(start, length, count, image, low, high):
    """Matrices `(boxes, count, image)` that resample a box's rows, or its columns.

    Each row of a matrix is a triangle, centred where its pixel lies in the image and
    as wide as a pixel of the image or of the result, whichever is larger. It takes
    nothing from outside `[low, high)`. Boxes are `(boxes, 1)`.
    """
    step = length / count
    centres = start + step * (ops.arange(count, dtype="float32") + 0.5)
    pixels = ops.arange(image, dtype="float32") + 0.5
    distances = ops.abs(pixels - centres[..., None]) / ops.maximum(step, 1)[..., None]
    low, high = (ops.cast(ops.reshape(x, (-1, 1, 1)), "float32") for x in (low, high))
    inside = (pixels > low) & (pixels < high)
    weights = ops.where(inside, ops.maximum(1 - distances, 0), 0)
    return weights / ops.sum(weights, axis=-1, keepdims=True)


def _resample(images, rows, columns, dtype):
    """Multiplies each image by its matrices, of rows and of columns."""
    x = ops.cast(images, "float32")
    x = ops.einsum("bip,bpqc->biqc", rows, x)
    x = ops.einsum("bjq,biqc->bijc", columns, x)
    dtype = _dtype(images, dtype)
    return ops.cast(ops.round(x) if "int" in dtype else x, dtype)


def _dtype(images, dtype):
    own = keras.backend.standardize_dtype(images.dtype)
    return own if "int" in own else dtype
