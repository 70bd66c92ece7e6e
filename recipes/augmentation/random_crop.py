# SPDX-License-Identifier: Apache-2.0
"""RandomCrop: crop every image at a random position of its own.

What:    pads, crops and optionally mirrors each image of a batch at random.
When:    training on small images: `RandomCrop(32, 32, padding=4, horizontal_flip=0.5)`
         is the recipe for CIFAR.
Not for: photographs of many scales (a random resized crop); bounding boxes.
Source:  He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section
         4.2. Padding modes of torchvision's `RandomCrop`.
Differs: from keras.layers.RandomCrop, which uses one position for the whole batch and
         resizes images that are too small.
Needs:   keras>=3.12; tensorflow, as the backend, for tf.data.
"""

from typing import Any

import keras
from keras import ops

PADDING_MODES = ("constant", "edge", "reflect", "symmetric")


@keras.saving.register_keras_serializable(package="hornbook")
class RandomCrop(keras.layers.Layer):
    """Crops each image at a random position while training, at the centre otherwise.

    In training the position is drawn for each image separately, and every position at
    which the crop fits into the padded image is equally likely. In inference all images
    are cropped at the centre, where an odd margin starts at its half rounded to even,
    as in torchvision, and none is mirrored.

    Pixels are copied, never changed. Integer images keep their dtype; float images are
    cast to the layer's compute dtype, as by every Keras layer.

    The same seed gives the same crops, call by call. It can be used in a model or, on
    the TensorFlow backend, in `dataset.map`, before or after `batch`; there several
    `num_parallel_calls` share the draws in any order. Images of unequal sizes must be
    cropped before they are batched. To crop a mask like its image, add it as one more
    channel.

    Args:
        height: Int, the height of a crop.
        width: Int, the width of a crop.
        padding: Int, the pixels to add on each of the four sides before cropping.
            Defaults to 0.
        padding_mode: The values of these pixels. One of:

            - `"constant"`, the default: `fill_value`.
            - `"edge"`: the nearest pixel of the image.
            - `"reflect"`: the mirror image, without the edge: `cb|abcd|cb`.
            - `"symmetric"`: the mirror image, with the edge: `ba|abcd|dc`.
        fill_value: Number, in the range of the images. Defaults to 0.
        horizontal_flip: Float in [0, 1], the probability of mirroring left to right.
            Defaults to 0.
        seed: Int, the seed of positions and mirroring. Defaults to `None`.
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
        ValueError: if an argument is none of the above, if Keras is set to channels
            first, or if a padded image is smaller than the crop. Where TensorFlow
            learns the size only in the graph, it raises `InvalidArgumentError` there.

    Example:
    >>> layer = RandomCrop(32, 32, padding=4, horizontal_flip=0.5, seed=0)
    >>> tuple(layer(keras.ops.ones((8, 32, 32, 3))).shape)
    (8, 32, 32, 3)
    >>> images = keras.ops.reshape(keras.ops.arange(9), (1, 3, 3, 1))
    >>> int(RandomCrop(1, 1)(images, training=False)[0, 0, 0, 0])
    4
    """

    def __init__(
        self,
        height: int,
        width: int,
        padding: int = 0,
        padding_mode: str = "constant",
        fill_value: float = 0,
        horizontal_flip: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        sizes = {"height": (height, 1), "width": (width, 1), "padding": (padding, 0)}
        for name, (size, least) in sizes.items():
            if not isinstance(size, int) or size < least:
                raise ValueError(
                    f"`{name}` must be an integer of at least {least}. "
                    f"Received: {name}={size}"
                )
        if padding_mode not in PADDING_MODES:
            raise ValueError(
                f"`padding_mode` must be in {PADDING_MODES}. "
                f"Received: padding_mode={padding_mode}"
            )
        if not 0 <= horizontal_flip <= 1:
            raise ValueError(
                "`horizontal_flip` must be a probability. "
                f"Received: horizontal_flip={horizontal_flip}"
            )
        if keras.config.image_data_format() != "channels_last":
            raise ValueError(
                "`RandomCrop` takes images with the channels last. Received: "
                f"image_data_format={keras.config.image_data_format()}"
            )
        self.height = height
        self.width = width
        self.padding = padding
        self.padding_mode = padding_mode
        self.fill_value = fill_value
        self.horizontal_flip = horizontal_flip
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=True):
        """Draws the places and copies the pixels."""
        self.compute_output_shape(images.shape)
        if len(images.shape) == 3:
            return self.call(images[None], training)[0]
        batch, image_height, image_width, channels = ops.shape(images)
        rows = self._places(batch, image_height, self.height, training)
        columns = self._places(batch, image_width, self.width, training)
        if training and self.horizontal_flip:
            draws = keras.random.uniform((batch, 1), seed=self.seed_generator)
            mirrored = draws < self.horizontal_flip
            columns = ops.where(mirrored, ops.flip(columns, axis=1), columns)
        rows, no_row = self._inside(rows, image_height)
        columns, no_column = self._inside(columns, image_width)

        # Whole rows first, then pixels: those of all images at once.
        index = ops.arange(batch, dtype="int32")[:, None] * image_height + rows
        lines = ops.reshape(images, (batch * image_height, image_width * channels))
        lines = ops.take(lines, ops.reshape(index, (-1,)), axis=0)
        count = batch * self.height
        index = ops.arange(count, dtype="int32") * image_width
        index = ops.reshape(index, (batch, self.height, 1)) + columns[:, None]
        pixels = ops.reshape(lines, (count * image_width, channels))
        crops = ops.take(pixels, ops.reshape(index, (-1,)), axis=0)
        crops = ops.reshape(crops, (batch, self.height, self.width, channels))
        if self.padding and self.padding_mode == "constant":
            outside = ops.logical_or(no_row[:, :, None], no_column[:, None])
            fill = ops.cast(self.fill_value, crops.dtype)
            crops = ops.where(outside[..., None], fill, crops)
        return crops

    def _places(self, batch, image, crop, training):
        """Where each crop's rows lie in its image, as `(batch, crop)`, or columns."""
        margin = image - crop
        if training:
            shape, last = (batch, 1), margin + 2 * self.padding
            start = keras.random.randint(shape, 0, last + 1, seed=self.seed_generator)
            return start - self.padding + ops.arange(crop, dtype="int32")
        # Half of the margin, a half rounded to even, for tensors as well as for ints.
        start = margin // 2 + margin % 4 // 3 + self.padding
        # `slice` refuses what does not fit.
        padded = ops.arange(image + 2 * self.padding, dtype="int32") - self.padding
        return ops.tile(ops.slice(padded, (start,), (crop,))[None], (batch, 1))

    def _inside(self, places, image):
        """The places in the image to copy from, and which are of the padding."""
        if not self.padding:
            return places, None
        outside = ops.logical_or(places < 0, places >= image)
        if self.padding_mode in ("constant", "edge"):
            return ops.clip(places, 0, image - 1), outside
        # Mirrored at both ends, places repeat with this period.
        edge = int(self.padding_mode == "symmetric")
        period = ops.maximum(2 * (image - 1 + edge), 1)
        places = places % period
        return ops.minimum(places, period - edge - places), outside

    def compute_output_shape(self, input_shape):
        """Shape of the crops; refuses images known to be too small."""
        if len(input_shape) not in (3, 4):
            raise ValueError(
                "`RandomCrop` takes images of shape (batch, height, width, channels), "
                "or one without a batch. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        *batch, image_height, image_width, channels = input_shape
        sizes = ((image_height, self.height), (image_width, self.width))
        if any(i is not None and i + 2 * self.padding < crop for i, crop in sizes):
            raise ValueError(
                f"The image, with its padding of {self.padding}, must not be smaller "
                f"than the crop of {self.height} × {self.width}. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        return (*batch, self.height, self.width, channels)

    def compute_output_spec(self, images, training=True):
        """Shape and dtype of the crops: that of the images, integers too."""
        shape = self.compute_output_shape(images.shape)
        return keras.KerasTensor(shape, dtype=images.dtype)

    def get_config(self):
        """Returns the arguments."""
        return {
            **super().get_config(),
            "height": self.height,
            "width": self.width,
            "padding": self.padding,
            "padding_mode": self.padding_mode,
            "fill_value": self.fill_value,
            "horizontal_flip": self.horizontal_flip,
            "seed": self.seed,
        }
