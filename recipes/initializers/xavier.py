# SPDX-License-Identifier: Apache-2.0
"""Xavier: initialize layers to suit both activations and gradients.

What:    draws a kernel with variance 2 gain² / (fan in + fan out).
When:    layers before tanh, sigmoid, softmax or nothing at all.
Not for: deep stacks of ReLU (`Kaiming`); biases.
Source:  Glorot and Bengio, "Understanding the difficulty of training deep
         feedforward neural networks", AISTATS 2010.
Differs: a gain, by number or by name, as in PyTorch; the paper draws uniformly.
Needs:   keras>=3.
"""

import math

import keras
from keras import ops

GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": 2**0.5, "selu": 0.75}

# Standard deviation of a standard normal variable that is kept within ±2.
TRUNCATED_STDDEV = math.sqrt(
    1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))
)


@keras.saving.register_keras_serializable(package="hornbook")
class Xavier(keras.initializers.VarianceScaling):
    """Draws weights with mean 0 and variance `gain² / n`, n the mean of both fans.

    `1 / fan_in` would keep the variance of the activations from layer to layer and
    `1 / fan_out` that of the gradients; this nearly keeps both, if the nonlinearity
    is close to the identity around 0.

    The last two axes of a kernel are taken as inputs and outputs, the ones before
    as a convolution's window, which counts in both fans. A depthwise kernel has
    another layout: `Xavier(input_axes=(0, 1), output_axes=(0, 1, 3))` is right for
    `DepthwiseConv2D`. A grouped convolution's fan out counts all its groups.

    Args:
        gain: Positive float, or the name of the nonlinearity that follows: `"linear"`
            and `"sigmoid"` (1), `"tanh"` (5/3), `"relu"` (√2) or `"selu"` (3/4).
            Defaults to 1.
        distribution: `"normal"`, the default, `"truncated_normal"` (nothing beyond 2
            standard deviations, widened so that the variance stays exact) or
            `"uniform"` (within `±sqrt(3 gain² / n)`).
        seed: Int or `keras.random.SeedGenerator`. As for Keras's initializers, an int
            or `None` gives the same values in each call, a generator new ones.
        input_axes: Tuple of ints, the kernel's axes whose product is the fan in.
            Defaults to `None`.
        output_axes: Tuple of ints, those of the fan out. Defaults to `None`.

    Raises:
        ValueError: If an argument is not one of the above, or in the call if the
            shape has fewer than two axes.

    Example:
    >>> init = Xavier(gain="tanh", distribution="uniform", seed=0)
    >>> layer = keras.layers.Dense(200, activation="tanh", kernel_initializer=init)
    >>> layer.build((None, 100))
    >>> bound = (3 * (5 / 3) ** 2 / 150) ** 0.5
    >>> largest = abs(keras.ops.convert_to_numpy(layer.kernel)).max()
    >>> bool(0.99 * bound < largest <= bound)
    True
    """

    def __init__(
        self,
        gain: float | str = 1.0,
        distribution: str = "normal",
        seed: int | keras.random.SeedGenerator | None = None,
        input_axes: tuple[int, ...] | None = None,
        output_axes: tuple[int, ...] | None = None,
    ) -> None:
        if isinstance(gain, str):
            if gain not in GAINS:
                raise ValueError(
                    f"`gain` must be a number or one of {list(GAINS)}. "
                    f"Received: gain={gain}"
                )
        elif not gain > 0:
            raise ValueError(f"`gain` must be positive. Received: gain={gain}")
        if distribution not in ("normal", "truncated_normal", "uniform"):
            raise ValueError(
                "`distribution` must be 'normal', 'truncated_normal' or 'uniform'. "
                f"Received: distribution={distribution}"
            )
        if (input_axes is None) != (output_axes is None):
            raise ValueError(
                "`input_axes` and `output_axes` must be given together. "
                f"Received: input_axes={input_axes}, output_axes={output_axes}"
            )
        super().__init__(
            scale=float(GAINS.get(gain, gain)) ** 2, mode="fan_avg", seed=seed
        )
        self.gain = gain
        self.distribution = distribution
        self.input_axes = input_axes
        self.output_axes = output_axes

    def __call__(self, shape, dtype=None):
        """Draws a kernel of this shape, as Keras calls an initializer."""
        if len(shape) < 2:
            raise ValueError(
                "A fan needs a kernel of at least two axes; start biases with "
                f"'zeros'. Received: shape={tuple(shape)}"
            )
        fan_in, fan_out = self._fans(shape)
        stddev = math.sqrt(2 * self.scale / max(1, fan_in + fan_out))
        dtype = keras.backend.standardize_dtype(dtype)
        # A draw in bfloat16 has 128 values and a bias on some backends.
        drawn = "float64" if dtype == "float64" else "float32"
        arguments = {"dtype": drawn, "seed": self.seed}
        if self.distribution == "uniform":
            bound = math.sqrt(3) * stddev
            x = keras.random.uniform(shape, -bound, bound, **arguments)
        elif self.distribution == "normal":
            x = keras.random.normal(shape, 0.0, stddev, **arguments)
        else:
            wider = stddev / TRUNCATED_STDDEV
            x = keras.random.truncated_normal(shape, 0.0, wider, **arguments)
            x = ops.clip(x, -2 * wider, 2 * wider)  # PyTorch lets a few in 10⁶ out.
        return ops.cast(x, dtype)

    def _fans(self, shape):
        if self.input_axes is not None:
            return (
                math.prod(shape[axis] for axis in self.input_axes),
                math.prod(shape[axis] for axis in self.output_axes),
            )
        window = math.prod(shape[:-2])
        return shape[-2] * window, shape[-1] * window

    def get_config(self):
        """Returns the arguments."""
        return {
            "gain": self.gain,
            "distribution": self.distribution,
            "seed": super().get_config()["seed"],
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }
