"""The Maxout network for small images."""

import keras
from keras import layers

from hornbook.recipes.layers.maxout import Maxout
from hornbook.recipes.layers.maxout_conv2d import MaxoutConv2D

MAX_NORM = 1.9  # of the weights of each filter


def maxout_network(
    filters: tuple[int, int, int] = (96, 192, 192),
    units: int = 500,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    name: str = "maxout",
) -> keras.Model:
    """Three convolutions and a dense layer of maxout units, with dropout before each.

    It takes raw pixels, 0 to 255: scaling is a layer.

    Args:
        filters: Channels of the three convolutions, each the maximum of two filters.
        units: Units of the dense layer, each the maximum of five.
        input_shape: `(height, width, channels)`, 16×16 or more.
        name: Name of the model.

    Returns:
        A `keras.Model` from `(batch, height, width, channels)` to `(batch, units)`.

    Source: Goodfellow et al., "Maxout Networks", ICML 2013, section 5.2, with the
    widths that the authors published for CIFAR-10. Differs: pixels are scaled to -1 to
    1 instead of contrast normalisation and whitening (see the recipe `ZCAWhitening`);
    one bound on the norms of all filters; padding keeps the size before each
    pooling.

    Example:

    >>> maxout_network((4, 8, 8), units=16).output_shape
    (None, 16)
    """
    bound = keras.constraints.MaxNorm(MAX_NORM, axis=[0, 1, 2])
    pixels = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(pixels)
    x = layers.Dropout(0.2, name="block1_dropout")(x)
    for number, (width, size, pool) in enumerate(
        zip(filters, (8, 8, 5), (4, 4, 2), strict=True), 1
    ):
        if number > 1:
            x = layers.Dropout(0.5, name=f"block{number}_dropout")(x)
        x = MaxoutConv2D(
            width,
            size,
            pieces=2,
            padding="same",
            kernel_constraint=bound,
            name=f"block{number}_maxout",
        )(x)
        x = layers.MaxPooling2D(pool, 2, padding="same", name=f"block{number}_pool")(x)
    x = layers.Dropout(0.5, name="block4_dropout")(layers.Flatten(name="flatten")(x))
    features = Maxout(
        units,
        pieces=5,
        kernel_constraint=keras.constraints.MaxNorm(MAX_NORM),
        name="block4_maxout",
    )(x)
    return keras.Model(pixels, features, name=name)
