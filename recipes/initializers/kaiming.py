# SPDX-License-Identifier: Apache-2.0
"""Kaiming: initialize layers so that rectified signals neither vanish nor explode.

What:    draws a kernel with variance gain² / n, n its fan in, out or their mean.
When:    deep networks of ReLU, leaky ReLU or SELU units, most of all without
         normalisation layers.
Not for: biases; layers before a sigmoid or tanh (`Xavier`).
Source:  He et al., "Delving Deep into Rectifiers", ICCV 2015.
Differs: any nonlinearity with a known gain, and the mean of both fans, as in PyTorch.
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
class Kaiming(keras.initializers.VarianceScaling):
    """Draws weights with mean 0 and variance `gain² / n`.

    The gain compensates for the nonlinearity: a ReLU halves the mean square of a
    signal, so its gain² is 2; a leaky ReLU of slope `a` has `2 / (1 + a²)`. With
    variance `1 / n` (LeCun's rule) a signal would lose a factor of 2 in every ReLU
    layer.

    The last two axes of a kernel are taken as inputs and outputs, the ones before
    as a convolution's window, which counts in both fans. Some Keras kernels have
    another layout: name the axes for these. For grouped convolutions, divide
    `fan_out` by the number of groups yourself.

    | layer             | kernel                   | `input_axes` | `output_axes` |
    |-------------------|--------------------------|--------------|---------------|
    | `DepthwiseConv2D` | height, width, in, times | `(0, 1)`     | `(0, 1, 3)`   |
    | `Conv2DTranspose` | height, width, out, in   | `(0, 1, 3)`  | `(0, 1, 2)`   |

    Args:
        mode: `"fan_in"`, the default, keeps the size of activations, `"fan_out"` that
            of gradients, `"fan_avg"` is in between.
        nonlinearity: The activation after the layer: `"linear"`, `"sigmoid"`, `"tanh"`,
            `"relu"`, the default, `"leaky_relu"` or `"selu"`.
        negative_slope: Float, the slope of `"leaky_relu"`, required there and not
            allowed elsewhere. (Keras's own default slopes are 0.2 for the activation
            and 0.3 for the layer.)
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
    >>> init = Kaiming(nonlinearity="leaky_relu", negative_slope=0.2, seed=0)
    >>> layer = keras.layers.Dense(64, activation="leaky_relu", kernel_initializer=init)
    >>> layer.build((None, 512))
    >>> variance = keras.ops.convert_to_numpy(layer.kernel).var()
    >>> bool(abs(variance / (2 / (1 + 0.2**2) / 512) - 1) < 0.05)
    True
    """

    def __init__(
        self,
        mode: str = "fan_in",
        nonlinearity: str = "relu",
        negative_slope: float | None = None,
        distribution: str = "normal",
        seed: int | keras.random.SeedGenerator | None = None,
        input_axes: tuple[int, ...] | None = None,
        output_axes: tuple[int, ...] | None = None,
    ) -> None:
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(
                "`mode` must be 'fan_in', 'fan_out' or 'fan_avg'. "
                f"Received: mode={mode}"
            )
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
        self.gain = self._gain(nonlinearity, negative_slope)
        super().__init__(scale=self.gain**2, mode=mode, seed=seed)
        self.distribution = distribution
        self.nonlinearity = nonlinearity
        self.negative_slope = negative_slope
        self.input_axes = input_axes
        self.output_axes = output_axes

    @staticmethod
    def _gain(nonlinearity, negative_slope):
        if (nonlinearity == "leaky_relu") != (negative_slope is not None):
            raise ValueError(
                "`negative_slope` must be given for nonlinearity='leaky_relu', and "
                f"only for it. Received: nonlinearity={nonlinearity}, "
                f"negative_slope={negative_slope}"
            )
        if nonlinearity == "leaky_relu":
            return math.sqrt(2 / (1 + negative_slope**2))
        if nonlinearity not in GAINS:
            raise ValueError(
                f"`nonlinearity` must be one of {[*GAINS, 'leaky_relu']}. "
                f"Received: nonlinearity={nonlinearity}"
            )
        return GAINS[nonlinearity]

    def __call__(self, shape, dtype=None):
        """Draws a kernel of this shape, as Keras calls an initializer."""
        if len(shape) < 2:
            raise ValueError(
                "A fan needs a kernel of at least two axes; start biases with "
                f"'zeros'. Received: shape={tuple(shape)}"
            )
        fan_in, fan_out = self._fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        stddev = self.gain / math.sqrt(max(1, n[self.mode]))
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
            "mode": self.mode,
            "nonlinearity": self.nonlinearity,
            "negative_slope": self.negative_slope,
            "distribution": self.distribution,
            "seed": super().get_config()["seed"],
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }
