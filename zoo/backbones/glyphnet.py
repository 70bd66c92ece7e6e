"""GlyphNet, a small residual network for 32×32 images of one object."""

from collections.abc import Sequence

import keras
from keras import layers

WIDTHS = (32, 64, 128)
SMALL_WIDTHS = (16, 32, 64)


def glyphnet(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    widths: Sequence[int] = WIDTHS,
    name: str = "glyphnet",
) -> keras.Model:
    """A residual network with eight layers with weights, made for fine-tuning.

    A strided stem and one residual block per width, each with BatchNormalization, then
    global average pooling. It takes raw pixels, 0 to 255: scaling is a layer.

    Args:
        input_shape: `(height, width, channels)`.
        widths: Channels of each block; the last is the number of features.
        name: Name of the model, and of its layer in a larger model.

    Returns:
        A `keras.Model` from `(batch, height, width, channels)` to
        `(batch, widths[-1])`.

    Source: after He et al., "Deep Residual Learning for Image Recognition", CVPR 2016,
    section 4.2 (the CIFAR networks). Differs: wider, a strided stem, one block per
    width, projections where the shape changes.

    Example:

    >>> glyphnet().output_shape, glyphnet(input_shape=(32, 32, 1)).count_params()
    ((None, 128), 308128)
    """
    inputs = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(inputs)
    x = _convolve(x, widths[0], strides=2, name="stem")
    x = layers.ReLU(name="stem_relu")(x)
    for index, width in enumerate(widths):
        x = _block(x, width, strides=2 if index else 1, name=f"block{index + 1}")
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="pool")(x), name=name)


def _convolve(
    x: keras.KerasTensor, filters: int, *, strides: int = 1, size: int = 3, name: str
) -> keras.KerasTensor:
    x = layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)


def _block(
    x: keras.KerasTensor, width: int, *, strides: int, name: str
) -> keras.KerasTensor:
    y = _convolve(x, width, strides=strides, name=f"{name}_1")
    y = layers.ReLU(name=f"{name}_1_relu")(y)
    y = _convolve(y, width, name=f"{name}_2")
    if strides > 1 or x.shape[-1] != width:
        x = _convolve(x, width, strides=strides, size=1, name=f"{name}_project")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))
