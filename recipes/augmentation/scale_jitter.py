# SPDX-License-Identifier: Apache-2.0
"""ScaleJitter: images at random sizes, and a random crop of each.

What:    resizes each image so that its short side is random, then crops: both in one
         resampling, with antialiasing.
When:    training on photographs without changing aspect ratios, as for VGG and ResNet.
Not for: images that must be seen whole, such as digits; bounding boxes.
Source:  Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
         Recognition", ICLR 2015, section 3.1; He et al., "Deep Residual Learning for
         Image Recognition", CVPR 2016, section 3.4.
Needs:   keras>=3.12; tensorflow, as the backend, for tf.data.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class ScaleJitter(keras.layers.Layer):
    """Resizes each image to a random short side and crops it at a random position.

    In training the short side of each image is drawn from the integers in `short_side`,
    all equally likely. The long side follows, rounded down, as in torchvision's
    `Resize`, and every position of the crop is equally likely. In inference the short
    side is the lowest of the range (256 for ResNet) and the crop is the centre, where
    an odd margin starts at its half rounded to even.

    Both are one resampling by a triangle filter (bilinear, as wide as the shrinking
    needs), which equals resizing the whole image first: a small matrix for the rows of
    each image and one for its columns. It is computed in float32. Integer images keep
    their dtype, their values rounded; others come in the layer's compute dtype.

    The same seed gives the same crops, call by call. It can be used in a model or, on
    the TensorFlow backend, in `dataset.map`, before or after `batch`; there several
    `num_parallel_calls` share the draws in any order. Images of unequal sizes must be
    cropped before they are batched. Small images are enlarged.

    Args:
        height: Int, the height of the crop.
        width: Int, the width of the crop.
        short_side: Two ints, the lowest and highest short side, in pixels; the lowest
            at least as large as the crop. Defaults to `(256, 480)`.
        seed: Int, the seed of sizes and positions. Defaults to `None`.
        **kwargs: The arguments of every Keras layer, such as `name` and `dtype`.

    Call arguments:
        images: Tensor `(batch, image_height, image_width, channels)`, or one image
            `(image_height, image_width, channels)`. The batch may be empty.
        training: Bool, whether to draw at random. Outside a model, the default is
            `True`.

    Returns:
        Tensor `(batch, height, width, channels)`, or one image
        `(height, width, channels)`.

    Raises:
        ValueError: if an argument is none of the above, or if Keras is set to channels
            first.

    Example:
    >>> layer = ScaleJitter(24, 24, short_side=(28, 40), seed=0)
    >>> tuple(layer(keras.ops.ones((8, 32, 48, 3))).shape)
    (8, 24, 24, 3)
    >>> tuple(layer(keras.ops.ones((32, 48, 3), "uint8"), training=False).shape)
    (24, 24, 3)
    """

    def __init__(
        self,
        height: int,
        width: int,
        short_side: tuple[int, int] = (256, 480),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, size in (("height", height), ("width", width)):
            if not isinstance(size, int) or size < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={size}"
                )
        if (
            len(short_side) != 2
            or not all(isinstance(side, int) for side in short_side)
            or not max(height, width) <= short_side[0] <= short_side[1]
        ):
            raise ValueError(
                "`short_side` must be two integers, the lower first and not below the "
                f"crop of {height} × {width}. Received: short_side={short_side}"
            )
        if keras.config.image_data_format() != "channels_last":
            raise ValueError(
                "`ScaleJitter` takes images with the channels last. Received: "
                f"image_data_format={keras.config.image_data_format()}"
            )
        self.height = height
        self.width = width
        self.short_side = tuple(short_side)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=True):
        """Draws the sizes and places, and resamples."""
        self.compute_output_shape(images.shape)
        if len(images.shape) == 3:
            return self.call(images[None], training)[0]
        batch, image_height, image_width, _ = ops.shape(images)
        low, high = self.short_side
        side = ops.full((batch, 1), low, "int32")
        if training:
            seed = self.seed_generator
            side = keras.random.randint((batch, 1), low, high + 1, seed=seed)

        def matrices(image, crop):
            whole = side * image // ops.minimum(image_height, image_width)
            margin = whole - crop
            start = margin // 2 + margin % 4 // 3  # the half rounded to even
            if training:
                draw = keras.random.uniform((batch, 1), seed=seed, dtype="float32")
                start = ops.cast(draw * ops.cast(margin + 1, "float32"), "int32")
                start = ops.minimum(start, margin)
            pixel = ops.cast(image, "float32") / ops.cast(whole, "float32")
            start = ops.cast(start, "float32") * pixel
            return _triangles(start, crop * pixel, crop, image, 0, image)

        rows = matrices(image_height, self.height)
        columns = matrices(image_width, self.width)
        return _resample(images, rows, columns, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Shape of the crops."""
        if len(input_shape) not in (3, 4):
            raise ValueError(
                "`ScaleJitter` takes images of shape (batch, height, width, channels), "
                "or one without a batch. "
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
            "short_side": self.short_side,
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
