"""Wide residual networks for small images, with dropout inside the blocks."""

import keras
from keras import layers


def wide_resnet(
    depth: int = 16,
    width: int = 4,
    dropout: float = 0.3,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    name: str | None = None,
) -> keras.Model:
    """A residual network with few, wide blocks, for images of about 32×32 pixels.

    It takes raw pixels, 0 to 255: scaling is a layer.

    Args:
        depth: Number of convolutions: 6n + 4.
        width: Factor by which it is wider than a ResNet, which has 16, 32 and 64
            channels.
        dropout: Dropout rate between the two convolutions of a block; the paper uses
            0.3 for CIFAR and 0.4 for SVHN.
        input_shape: `(height, width, channels)`.
        name: Name of the model. Defaults to "wide_resnet16_4" for the defaults above.

    Returns:
        A `keras.Model` from `(batch, height, width, channels)` to `(batch, 64 *
        width)`.

    Source: Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016. Differs:
    pixels are scaled to -1 to 1 instead of by the data's mean and deviation.

    Example:

    >>> wide_resnet().output_shape, wide_resnet().count_params()
    ((None, 256), 2749936)
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"`depth` must be 6n + 4, n >= 1. Received: depth={depth}")
    pixels = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(pixels)
    x = _convolve(x, 16, name="stem_conv")
    for stage, base in enumerate((16, 32, 64), 1):
        for number in range(1, (depth - 4) // 6 + 1):
            strides = 2 if stage > 1 and number == 1 else 1
            name_of_block = f"stage{stage}_block{number}"
            x = _block(x, base * width, strides, dropout, name=name_of_block)
    x = _activate(x, name="last")
    features = layers.GlobalAveragePooling2D(name="pool")(x)
    name = name or f"wide_resnet{depth}_{width}"
    return keras.Model(pixels, features, name=name)


def _convolve(
    x: keras.KerasTensor, filters: int, strides: int = 1, size: int = 3, *, name: str
) -> keras.KerasTensor:
    return layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _activate(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _block(
    x: keras.KerasTensor, filters: int, strides: int, dropout: float, *, name: str
) -> keras.KerasTensor:
    y = _activate(x, name=f"{name}_1")
    if x.shape[-1] != filters:
        # The projection, too, takes the normalised features.
        x = _convolve(y, filters, strides, size=1, name=f"{name}_project")
    y = _convolve(y, filters, strides, name=f"{name}_1_conv")
    y = _activate(y, name=f"{name}_2")
    y = layers.Dropout(dropout, name=f"{name}_dropout")(y)
    y = _convolve(y, filters, name=f"{name}_2_conv")
    return layers.Add(name=f"{name}_add")([x, y])
