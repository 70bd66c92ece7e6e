# SPDX-License-Identifier: Apache-2.0
"""MaxoutConv2D: a convolution that returns the largest of several filters.

What:    a 2D convolution whose nonlinearity, convex and piecewise linear, is learned.
When:    together with dropout, whose averaging is then nearly exact; if ReLU units die,
         since one of the pieces always has a gradient.
Not for: tight parameter budgets: `pieces` times the weights of `Conv2D`.
Source:  Goodfellow et al., "Maxout Networks", ICML 2013.
Needs:   keras>=3.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class MaxoutConv2D(keras.layers.Layer):
    """Computes `max(conv(x, W_1) + b_1, …, conv(x, W_k) + b_k)` for k pieces.

    The pieces are side by side in one kernel, so that one convolution computes them
    all and a constraint on its filters (`MaxNorm(axis=[0, 1, 2])`) means what it
    means for `Conv2D`. Each piece is initialized like a `Conv2D(filters)`: its
    initializer gets that many filters, and an integer seed gives every piece different
    values.

    Args:
        filters: Positive int, the number of output channels.
        kernel_size: Int or 2 ints, the height and width of the window.
        pieces: Positive int, the number of filters of each output channel. 1 is a
            linear layer. Defaults to 2.
        strides: Int or 2 ints, the window's steps.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"`, `"channels_first"` or `None`, Keras's setting.
        dilation_rate: Int or 2 ints, the distance of the window's taps. Above 1 it
            needs strides of 1.
        use_bias: Bool, whether each piece has a bias.
        kernel_initializer: Initializer of each piece's kernel.
        bias_initializer: Initializer of each piece's bias.
        kernel_regularizer: Regularizer of the kernel, all pieces together.
        bias_regularizer: Regularizer of the bias.
        activity_regularizer: Regularizer of the output.
        kernel_constraint: Constraint on the kernel.
        bias_constraint: Constraint on the bias.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of rank 4.

    Input shape:
        `(batch, height, width, channels)`, or channels first.

    Output shape:
        `(batch, new_height, new_width, filters)`, or channels first.

    Raises:
        ValueError: If an argument is not one of the above.

    Example:
    >>> layer = MaxoutConv2D(8, 3, pieces=3, strides=2, padding="same")
    >>> tuple(layer(keras.ops.ones((4, 15, 15, 2))).shape)
    (4, 8, 8, 8)
    >>> tuple(layer.kernel.shape)
    (3, 3, 2, 24)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        pieces: int = 2,
        strides: int | tuple[int, int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, int] = 1,
        use_bias: bool = True,
        kernel_initializer: str | dict | keras.Initializer = "glorot_uniform",
        bias_initializer: str | dict | keras.Initializer = "zeros",
        kernel_regularizer: str | dict | keras.Regularizer | None = None,
        bias_regularizer: str | dict | keras.Regularizer | None = None,
        activity_regularizer: str | dict | keras.Regularizer | None = None,
        kernel_constraint: str | dict | keras.constraints.Constraint | None = None,
        bias_constraint: str | dict | keras.constraints.Constraint | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        for name, value in {"filters": filters, "pieces": pieces}.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive int. Received: {name}={value}"
                )
        if padding not in ("valid", "same"):
            raise ValueError(
                f"`padding` must be 'valid' or 'same'. Received: padding={padding}"
            )
        data_format = data_format or keras.config.image_data_format()
        if data_format not in ("channels_last", "channels_first"):
            raise ValueError(
                "`data_format` must be 'channels_last' or 'channels_first'. "
                f"Received: data_format={data_format}"
            )
        self.filters = filters
        self.kernel_size = _pair("kernel_size", kernel_size)
        self.pieces = pieces
        self.strides = _pair("strides", strides)
        self.padding = padding
        self.data_format = data_format
        self.dilation_rate = _pair("dilation_rate", dilation_rate)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                "`strides` and `dilation_rate` must not both be above 1. "
                f"Received: strides={strides}, dilation_rate={dilation_rate}"
            )
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.channel_axis = 3 if data_format == "channels_last" else 1
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        """Creates the kernel and the bias."""
        self.compute_output_shape(input_shape)  # Refuses inputs that are too small.
        channels = input_shape[self.channel_axis]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, channels, self.pieces * self.filters),
            initializer=self._piecewise(self.kernel_initializer),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.pieces * self.filters,),
                initializer=self._piecewise(self.bias_initializer),
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.input_spec = keras.layers.InputSpec(
            ndim=4, axes={self.channel_axis: channels}
        )

    def _piecewise(self, initializer):
        """An initializer that draws each piece on its own and joins them."""

        def piece(index):
            seed = getattr(initializer, "seed", None)
            if not isinstance(seed, int):
                return initializer
            # Called again, it would repeat its values and make the pieces equal.
            config = {**initializer.get_config(), "seed": seed + index}
            return initializer.from_config(config)

        def draw(shape, dtype=None):
            shape = (*shape[:-1], self.filters)
            drawn = [piece(index)(shape, dtype=dtype) for index in range(self.pieces)]
            return ops.concatenate(drawn, axis=-1)

        return draw

    def call(self, inputs):
        """Returns the largest piece of each channel."""
        x = ops.conv(
            inputs,
            self.kernel,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )
        # An axis for the pieces, and not the last one: fastest, forward and backward.
        shape, axis = ops.shape(x), self.channel_axis
        split = (self.pieces, self.filters)
        x = ops.reshape(x, (*shape[:axis], *split, *shape[axis + 1 :]))
        if self.use_bias:
            x = ops.add(x, ops.reshape(self.bias, (*split, *(1,) * (3 - axis))))
        return ops.max(x, axis=axis)

    def compute_output_shape(self, input_shape):
        """Follows the window in height and width; the channels become `filters`."""
        shape = list(input_shape)
        shape[self.channel_axis] = self.filters
        first = 1 if self.channel_axis == 3 else 2
        for axis, size, stride, gap in zip(
            (first, first + 1),
            self.kernel_size,
            self.strides,
            self.dilation_rate,
            strict=True,
        ):
            if shape[axis] is not None:
                lost = gap * (size - 1) if self.padding == "valid" else 0
                shape[axis] = -((lost - shape[axis]) // stride)
                if shape[axis] < 1:
                    raise ValueError(
                        "The window does not fit into the input. "
                        f"Received: input_shape={tuple(input_shape)}"
                    )
        return tuple(shape)

    def get_config(self):
        """Returns the arguments."""
        names = "filters kernel_size pieces strides padding data_format dilation_rate"
        objects = (
            "kernel_initializer bias_initializer kernel_regularizer bias_regularizer "
            "activity_regularizer kernel_constraint bias_constraint"
        )
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names.split()},
            "use_bias": self.use_bias,
            **{
                name: keras.saving.serialize_keras_object(getattr(self, name))
                for name in objects.split()
            },
        }


def _pair(name, value):
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
        raise ValueError(
            f"`{name}` must be a positive int or two. Received: {name}={value}"
        )
    return pair
