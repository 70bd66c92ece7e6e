# SPDX-License-Identifier: Apache-2.0
"""MultiScaleViews: crops of an image at several sizes instead of one.

What:    resizes each image to several short sides and cuts fixed crops at each.
When:    a classifier trained with scale jitter should vote over scales at test time.
Not for: one scale (`TenCrop` copies pixels, for less); mirrored digits and text.
Source:  He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, sections
         3.4 and 4.1: testing at the scales {224, 256, 384, 480, 640}.
Differs: the paper slides the network over the whole of each resized image and averages
         its map of scores. Here five crops of the training size are used instead, so
         that any classifier with one input size can be used.
Needs:   keras>=3.12.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class MultiScaleViews(keras.layers.Layer):
    """Cuts crops of one size from an image that is resized to several.

    At each size the image keeps its aspect ratio, and the longer side is rounded down,
    as in torchvision. A crop is resampled straight from the image, by a triangle
    filter, antialiased where it shrinks: the same as to resize and then crop.

    The views come size after size; of five crops in the order of `TenCrop`: top left,
    top right, bottom left, bottom right, centre. After all of these come their mirror
    images, in the same order. Where the image is about as large as the crop, the five
    show much the same.

    Args:
        height: Int. Height of a crop.
        width: Int. Width of a crop.
        sizes: Ints, the short sides in pixels, none smaller than a crop's longer side.
        crops: 5 for the corners and the centre, 1 for the centre alone.
        flips: Bool. Whether to add the mirror images.
        **kwargs: The arguments of every Keras layer, such as `name` and `dtype`.

    Call arguments:
        images: Tensor `(batch, image_height, image_width, channels)`, channels last,
            all of one size, of any values. Height and width may be unknown when a
            model is built. Smaller images are enlarged.

    Returns:
        Tensor `(batch, views, height, width, channels)` of the layer's compute dtype,
        in the range of the images, not rounded. `views` is `len(sizes) * crops`, twice
        that with the mirror images.

    Raises:
        ValueError: if an argument is none of the above, or if Keras is set to channels
            first.

    Example:
    >>> views = MultiScaleViews(8, 8, sizes=(8, 12), crops=1)
    >>> tuple(views(keras.ops.ones((2, 20, 30, 3))).shape)
    (2, 4, 8, 8, 3)
    """

    def __init__(
        self,
        height: int,
        width: int,
        sizes: Sequence[int] = (224, 256, 384, 480, 640),
        crops: int = 5,
        flips: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, side in (("height", height), ("width", width)):
            if not isinstance(side, int) or side < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={side}"
                )
        sizes = tuple(sizes)
        whole = all(isinstance(size, int) for size in sizes)
        if not sizes or not whole or min(sizes) < max(height, width):
            raise ValueError(
                f"`sizes` must be integers of {max(height, width)} or more, so that a "
                f"crop of {height} × {width} fits. Received: sizes={sizes}"
            )
        if crops not in (1, 5):
            raise ValueError(f"`crops` must be 1 or 5. Received: crops={crops}")
        if keras.config.image_data_format() != "channels_last":
            raise ValueError(
                "`MultiScaleViews` takes images with the channels last. Received: "
                f"image_data_format={keras.config.image_data_format()}"
            )
        self.height = height
        self.width = width
        self.sizes = sizes
        self.crops = crops
        self.flips = flips

    def call(self, images):
        """Resamples the views."""
        self.compute_output_shape(images.shape)
        lengths = ops.shape(images)[1:3]
        images = ops.cast(images, self.compute_dtype)
        views = [
            view for size in self.sizes for view in self._at(images, lengths, size)
        ]
        views = ops.stack(views, axis=1)
        if not self.flips:
            return views
        return ops.concatenate([views, ops.flip(views, axis=3)], axis=1)

    def _at(self, images, lengths, size):
        """The crops of the images with a short side of `size`."""
        short = ops.minimum(*lengths)
        rows, columns = (
            self._matrices(length, size * length // short, crop)
            for length, crop in zip(lengths, (self.height, self.width), strict=True)
        )
        first, middle, last = range(3)
        places = [(first, first), (first, last), (last, first), (last, last)]
        for top, left in [*places, (middle, middle)][-self.crops :]:
            yield ops.einsum("yh,bhwc,xw->byxc", rows[top], images, columns[left])

    def _matrices(self, length, resized, crop):
        """Resamples one axis: what a first, middle and last crop take of each pixel.

        Args:
            length: How many pixels there are.
            resized: How many there would be of the whole.
            crop: How many to cut of those.

        Returns:
            Three matrices `(crop, length)`.
        """
        margin = resized - crop
        # Half of the margin, a half rounded to even, as in `TenCrop`.
        starts = (0, margin // 2 + margin % 4 // 3, margin)
        step = ops.cast(length, "float32") / ops.cast(resized, "float32")
        pixels = ops.arange(length, dtype="float32")
        matrices = []
        for start in starts:
            wanted = ops.arange(crop, dtype="float32") + ops.cast(start, "float32")
            centres = (wanted + 0.5) * step - 0.5
            distances = ops.abs(pixels - centres[:, None]) / ops.maximum(step, 1.0)
            weights = ops.relu(1 - distances)
            weights = weights / ops.sum(weights, axis=1, keepdims=True)
            matrices.append(ops.cast(weights, self.compute_dtype))
        return matrices

    def compute_output_shape(self, input_shape):
        """Shape of the views."""
        if len(input_shape) != 4:
            raise ValueError(
                "`MultiScaleViews` takes images of shape (batch, height, width, "
                f"channels). Received: input_shape={tuple(input_shape)}"
            )
        views = len(self.sizes) * self.crops * (2 if self.flips else 1)
        return (input_shape[0], views, self.height, self.width, input_shape[-1])

    def compute_output_spec(self, images):
        """Shape and dtype of the views."""
        shape = self.compute_output_shape(images.shape)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self):
        """Returns the arguments."""
        return {
            **super().get_config(),
            "height": self.height,
            "width": self.width,
            "sizes": self.sizes,
            "crops": self.crops,
            "flips": self.flips,
        }
