# SPDX-License-Identifier: Apache-2.0
"""Maxout: a unit that returns the largest of several linear functions.

What:    a dense layer whose nonlinearity, convex and piecewise linear, is learned.
When:    together with dropout, whose averaging is then nearly exact; if ReLU units die,
         since one of the pieces always has a gradient.
Not for: tight parameter budgets: `pieces` times the weights of `Dense`.
Source:  Goodfellow et al., "Maxout Networks", ICML 2013.
Needs:   keras>=3.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class Maxout(keras.layers.Layer):
    """Computes `max(x @ W_1 + b_1, …, x @ W_k + b_k)` for k pieces.

    The pieces are side by side in one kernel, so that one matrix product computes them
    all and a constraint on its columns (`MaxNorm(axis=0)`, as in the paper) means
    what it means for `Dense`. Each piece is initialized like a `Dense(units)`: its
    initializer gets the shape `(inputs, units)`, and an integer seed gives every piece
    different values. A ReLU is the case of two pieces, one of them 0.

    Args:
        units: Positive int, the number of outputs.
        pieces: Positive int, the number of linear functions of each output. 1 is a
            linear layer. Defaults to 2.
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
        inputs: Tensor of rank 2 or more.

    Input shape:
        `(batch, ..., inputs)`

    Output shape:
        `(batch, ..., units)`

    Raises:
        ValueError: If `units` or `pieces` is not a positive int.

    Example:
    >>> layer = Maxout(10, pieces=3)
    >>> tuple(layer(keras.ops.ones((4, 7, 32))).shape)
    (4, 7, 10)
    >>> tuple(layer.kernel.shape)
    (32, 30)
    """

    def __init__(
        self,
        units: int,
        pieces: int = 2,
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
        for name, value in {"units": units, "pieces": pieces}.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive int. Received: {name}={value}"
                )
        self.units = units
        self.pieces = pieces
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.input_spec = keras.layers.InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape):
        """Creates the kernel and the bias."""
        inputs = input_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(inputs, self.pieces * self.units),
            initializer=self._piecewise(self.kernel_initializer),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.pieces * self.units,),
                initializer=self._piecewise(self.bias_initializer),
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: inputs})

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
            shape = (*shape[:-1], self.units)
            drawn = [piece(index)(shape, dtype=dtype) for index in range(self.pieces)]
            return ops.concatenate(drawn, axis=-1)

        return draw

    def call(self, inputs):
        """Returns the largest piece of each unit."""
        x = ops.matmul(inputs, self.kernel)
        # An axis for the pieces, and not the last one: fastest, forward and backward.
        x = ops.reshape(x, (*ops.shape(x)[:-1], self.pieces, self.units))
        if self.use_bias:
            x = ops.add(x, ops.reshape(self.bias, (self.pieces, self.units)))
        return ops.max(x, axis=-2)

    def compute_output_shape(self, input_shape):
        """Replaces the last axis by `units`."""
        return (*input_shape[:-1], self.units)

    def get_config(self):
        """Returns the arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "pieces": self.pieces,
            "use_bias": self.use_bias,
            **{
                name: keras.saving.serialize_keras_object(getattr(self, name))
                for name in (
                    "kernel_initializer",
                    "bias_initializer",
                    "kernel_regularizer",
                    "bias_regularizer",
                    "activity_regularizer",
                    "kernel_constraint",
                    "bias_constraint",
                )
            },
        }
