"""Residual networks for small images: ResNet-20, 32, 56 and so on."""

import keras
from keras import layers, ops


def cifar_resnet(
    depth: int = 20,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    name: str | None = None,
) -> keras.Model:
    """A residual network of three stages for images of about 32×32 pixels.

    It takes raw pixels, 0 to 255: scaling is a layer.

    Args:
        depth: Number of layers with weights, including the head: 6n + 2.
        input_shape: `(height, width, channels)`.
        name: Name of the model. Defaults to "resnet20" for a depth of 20.

    Returns:
        A `keras.Model` from `(batch, height, width, channels)` to `(batch, 64)`.

    Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016,
    section 4.2, with its shortcuts without weights (option A). Differs: pixels are
    scaled to -1 to 1 instead of subtracting the mean of the data.

    Example:

    >>> cifar_resnet(20).output_shape, cifar_resnet(20).count_params()
    ((None, 64), 270448)
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"`depth` must be 6n + 2, n >= 1. Received: depth={depth}")
    pixels = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(pixels)
    x = layers.ReLU(name="stem_relu")(_convolve(x, 16, name="stem"))
    for stage, width in enumerate((16, 32, 64), 1):
        for number in range(1, (depth - 2) // 6 + 1):
            strides = 2 if stage > 1 and number == 1 else 1
            x = _block(x, width, strides, name=f"stage{stage}_block{number}")
    features = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(pixels, features, name=name or f"resnet{depth}")


def _convolve(
    x: keras.KerasTensor, filters: int, strides: int = 1, *, name: str
) -> keras.KerasTensor:
    x = layers.Conv2D(
        filters,
        3,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)


def _block(
    x: keras.KerasTensor, width: int, strides: int, *, name: str
) -> keras.KerasTensor:
    y = layers.ReLU(name=f"{name}_1_relu")(
        _convolve(x, width, strides, name=f"{name}_1")
    )
    y = _convolve(y, width, name=f"{name}_2")
    if strides > 1:
        # Every other pixel, and zeros for the new channels.
        x = layers.AveragePooling2D(1, strides, name=f"{name}_skip")(x)
        missing = width - x.shape[-1]
        x = ops.pad(x, ((0, 0), (0, 0), (0, 0), (missing // 2, missing // 2)))
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))
