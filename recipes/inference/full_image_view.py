# SPDX-License-Identifier: Apache-2.0
"""FullImageView: the whole image, resized, instead of crops of it.

What:    resizes each image to the classifier's input, alone or with its mirror image.
When:    what matters may lie at the edge; as one more view in addition to crops.
Not for: classifiers that were trained on crops of larger images, for which objects will
         be too small; mirrored digits and text.
Source:  Howard, "Some Improvements on Deep Convolutional Neural Network Based Image
         Classification", ICLR 2014, section 3: predictions on the full image.
Differs: the paper takes crops of the full image at several scales.
Needs:   keras>=3.12.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class FullImageView(keras.layers.Layer):
    """Resizes the whole image to one view, or two with the mirror image.

    Bilinear, antialiased where it shrinks. Images that already have the size are not
    changed, so `FullImageView(32, 32, flips=True)` is the vote of images of
    32 × 32 and their mirror images.

    Args:
        height: Int. Height of a view.
        width: Int. Width of a view.
        pad_to_aspect_ratio: Bool. `False` stretches the image to the view, `True` pads
            it to the view's aspect ratio, equally on both sides: a pixel whose centre
            lies outside the image is padding.
        fill_value: Float. The value of the padding, in the range of the images.
        flips: Bool. Whether to add the mirror image.
        **kwargs: The arguments of every Keras layer, such as `name` and `dtype`.

    Call arguments:
        images: Tensor `(batch, image_height, image_width, channels)`, channels last,
            all of one size, of any values. Height and width may be unknown when a
            model is built.

    Returns:
        Tensor `(batch, views, height, width, channels)` of the layer's compute dtype,
        in the range of the images, not rounded; `views` is 1, or 2 with the mirror
        image.

    Raises:
        ValueError: if a size is not a positive int, or if Keras is set to channels
            first.

    Example:
    >>> images = keras.ops.reshape(keras.ops.arange(4.0), (1, 2, 2, 1))
    >>> views = FullImageView(2, 2, flips=True)(images)
    >>> [int(pixel) for pixel in keras.ops.reshape(views, (-1,))]
    [0, 1, 2, 3, 1, 0, 3, 2]
    """

    def __init__(
        self,
        height: int,
        width: int,
        pad_to_aspect_ratio: bool = False,
        fill_value: float = 0.0,
        flips: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, side in (("height", height), ("width", width)):
            if not isinstance(side, int) or side < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={side}"
                )
        if keras.config.image_data_format() != "channels_last":
            raise ValueError(
                "`FullImageView` takes images with the channels last. Received: "
                f"image_data_format={keras.config.image_data_format()}"
            )
        self.height = height
        self.width = width
        self.pad_to_aspect_ratio = pad_to_aspect_ratio
        self.fill_value = fill_value
        self.flips = flips

    def call(self, images):
        """Resizes the images."""
        self.compute_output_shape(images.shape)
        lengths = ops.shape(images)[1:3]
        sides = (self.height, self.width)
        steps = [
            ops.cast(length, "float32") / side
            for length, side in zip(lengths, sides, strict=True)
        ]
        if self.pad_to_aspect_ratio:
            steps = [ops.maximum(*steps)] * 2
        rows, columns = map(self._matrix, lengths, sides, steps)
        images = ops.cast(images, self.compute_dtype)
        view = ops.einsum("yh,bhwc,xw->byxc", rows, images, columns)
        if self.pad_to_aspect_ratio:
            inside = ops.any(rows, axis=1)[:, None] & ops.any(columns, axis=1)
            view = ops.where(inside[:, :, None], view, self.fill_value)
        view = ops.cast(view, self.compute_dtype)
        views = [view, ops.flip(view, axis=2)] if self.flips else [view]
        return ops.stack(views, axis=1)

    def _matrix(self, length, side, step):
        """What each of `side` pixels takes of `length`: `(side, length)`.

        By a triangle filter of `step` pixels to either side, or one if that is more.
        TensorFlow's own antialiased resizing cannot be compiled with XLA.
        """
        centres = (ops.arange(side, dtype="float32") + 0.5 - side / 2) * step
        centres = centres + ops.cast(length, "float32") / 2 - 0.5
        pixels = ops.arange(length, dtype="float32")
        distances = ops.abs(pixels - centres[:, None]) / ops.maximum(step, 1.0)
        weights = ops.relu(1 - distances)
        weights = weights / ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1e-7)
        last = ops.cast(length, "float32") - 0.5
        inside = (centres > -0.5) & (centres < last)  # the others are padding
        weights = ops.where(inside[:, None], weights, 0.0)
        return ops.cast(weights, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Shape of the views."""
        if len(input_shape) != 4:
            raise ValueError(
                "`FullImageView` takes images of shape (batch, height, width, "
                f"channels). Received: input_shape={tuple(input_shape)}"
            )
        views = 2 if self.flips else 1
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
            "pad_to_aspect_ratio": self.pad_to_aspect_ratio,
            "fill_value": self.fill_value,
            "flips": self.flips,
        }
