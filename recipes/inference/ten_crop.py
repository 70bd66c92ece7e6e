# SPDX-License-Identifier: Apache-2.0
"""TenCrop: ten fixed crops of an image instead of one.

What:    the four corners and the centre of an image, then those of its mirror image.
When:    a classifier trained on random crops is applied to larger images.
Not for: digits and text with `flips=True`: a mirrored one is another class;
         random crops while training (a random crop layer draws those).
Source:  Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep
         Convolutional Neural Networks", NeurIPS 2012, section 4.1. Order and rounding
         of torchvision's `ten_crop`.
Differs: from torchvision: takes a batch and returns one tensor; mirrors left to right.
Needs:   keras>=3.12.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class TenCrop(keras.layers.Layer):
    """Cuts every image into five fixed crops, or ten with the mirror images.

    The views come in torchvision's order: top left, top right, bottom left, bottom
    right, centre; then the same five of the horizontally mirrored image, so view 5 is
    the mirror of view 1, not of view 0. As there, a centre crop with an odd margin
    starts at its half rounded to even: at 0 for a margin of 1, at 2 for 3.

    Pixels are copied, never changed. Integer images keep their dtype; float images are
    cast to the layer's compute dtype, as by every Keras layer, so under a mixed policy
    pass integers or `dtype="float32"` where the rounding matters.

    Args:
        height: Int. Height of a crop.
        width: Int. Width of a crop.
        flips: Bool. `True`, the default, for ten crops, `False` for the five of the
            image without mirroring.
        **kwargs: The arguments of every Keras layer, such as `name` and `dtype`.

    Call arguments:
        images: Tensor `(batch, image_height, image_width, channels)`, channels last,
            all of one size. Height and width may be unknown when a model is built.

    Returns:
        Tensor `(batch, views, height, width, channels)`, `views` being 10 or 5.

    Raises:
        ValueError: if a size is not a positive int, if Keras is set to channels first,
            or if an image is smaller than the crop. Where TensorFlow learns the image's
            size only in the graph, it raises `InvalidArgumentError` there instead.

    Example:
    >>> images = keras.ops.reshape(keras.ops.arange(9), (1, 3, 3, 1))
    >>> crops = TenCrop(1, 1)(images)
    >>> tuple(crops.shape)
    (1, 10, 1, 1, 1)
    >>> [int(pixel) for pixel in keras.ops.reshape(crops, (-1,))]
    [0, 2, 6, 8, 4, 2, 0, 8, 6, 4]
    """

    def __init__(
        self, height: int, width: int, flips: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        for name, size in (("height", height), ("width", width)):
            if not isinstance(size, int) or size < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={size}"
                )
        if keras.config.image_data_format() != "channels_last":
            raise ValueError(
                "`TenCrop` takes images with the channels last. Received: "
                f"image_data_format={keras.config.image_data_format()}"
            )
        self.height = height
        self.width = width
        self.flips = flips

    def call(self, images):
        """Cuts the views."""
        self.compute_output_shape(images.shape)
        crops = self._five(images)
        if self.flips:
            crops += self._five(ops.flip(images, axis=2))
        return ops.stack(crops, axis=1)

    def _five(self, images):
        batch, image_height, image_width, channels = ops.shape(images)
        bottom = image_height - self.height
        right = image_width - self.width
        # Half of the margin, a half rounded to even, for tensors as well as for ints.
        middle, centre = (m // 2 + m % 4 // 3 for m in (bottom, right))
        places = [(0, 0), (0, right), (bottom, 0), (bottom, right), (middle, centre)]
        # `slice` refuses a negative start, which `[]` would count from the end.
        size = (batch, self.height, self.width, channels)
        return [ops.slice(images, (0, top, left, 0), size) for top, left in places]

    def compute_output_shape(self, input_shape):
        """Shape of the views; refuses images known to be too small."""
        if len(input_shape) != 4:
            raise ValueError(
                "`TenCrop` takes images of shape (batch, height, width, channels). "
                f"Received: input_shape={tuple(input_shape)}"
            )
        batch, image_height, image_width, channels = input_shape
        sizes = ((image_height, self.height), (image_width, self.width))
        if any(image is not None and image < crop for image, crop in sizes):
            raise ValueError(
                f"The image must not be smaller than the crop of {self.height} × "
                f"{self.width}. Received: input_shape={tuple(input_shape)}"
            )
        views = 10 if self.flips else 5
        return (batch, views, self.height, self.width, channels)

    def compute_output_spec(self, images):
        """Shape and dtype of the views: that of the images, integers too."""
        shape = self.compute_output_shape(images.shape)
        return keras.KerasTensor(shape, dtype=images.dtype)

    def get_config(self):
        """Returns the arguments."""
        return {
            **super().get_config(),
            "height": self.height,
            "width": self.width,
            "flips": self.flips,
        }
