# SPDX-License-Identifier: Apache-2.0
"""DropConnect: drop random weights, not random activations, while training.

What:    wraps a layer and masks its kernels with random zeros.
When:    wide dense heads that overfit; recurrent layers.
Not for: kernels of a few weights; dropping whole blocks (`StochasticDepth`).
Source:  Wan et al., "Regularization of Neural Networks using DropConnect", ICML 2013.
Differs: by default one mask for a batch, biases kept, the mean kernel at inference (in
         the paper a mask for each example, biases dropped, a Gaussian). The masks of
         examples share randomness, after "Flipout" (Wen et al., ICLR 2018).
Needs:   keras>=3.
"""

import inspect
import re
from typing import Any

import keras
import numpy as np
from keras import ops

LINEAR = "Dense EinsumDense Conv1D Conv2D Conv3D DepthwiseConv1D DepthwiseConv2D"
NOT_BY_ELEMENT = ("linear", "softmax", "log_softmax", "sparsemax", "glu")


@keras.saving.register_keras_serializable(package="hornbook")
class DropConnect(keras.layers.Wrapper):
    """Zeroes each weight with probability `rate` and divides the rest by `1 - rate`.

    Every variable of the layer, and of layers inside it, whose name ends in "kernel" is
    masked; in `LSTM` and `GRU` the input and the recurrent kernel, with one mask for
    all steps of a sequence. Each call in training draws new masks. Regularizers and
    constraints still apply to the whole kernel.

    A mask for every example would be as large as the batch times the kernel. Instead,
    two antithetic masks are drawn, and each example takes each weight from one of the
    two, chosen by random signs of its own for the kernel's rows and columns: two passes
    through the layer. The mask of an example has exactly the paper's distribution; what
    differs is that the masks of a weight in two examples are correlated, at rate p by
    `(1 - min(p, 1 - p) / max(p, 1 - p)) / 2`: 0 at 0.5, 1/3 at 0.25; and that a window
    of a convolution comes from one of the two as a whole.

    `per_example` and `inference="gaussian"` work between kernel and activation: of
    `Dense`, `EinsumDense`, `Conv1D` to `Conv3D`, `DepthwiseConv1D` and `2D`.

    On a CPU with TensorFlow leave `jit_compile` off, as Keras does: XLA draws random
    numbers a hundred times slower there, for `keras.layers.Dropout` too.

    Args:
        layer: `keras.layers.Layer` that owns a kernel.
        rate: Float in `[0, 1)`, the probability that a weight is dropped. Defaults to
            0.5.
        per_example: Bool, whether each example of a batch gets its own mask. Defaults
            to `False`.
        drop_bias: Bool, whether biases are masked like kernels. Defaults to `False`.
        inference: `"mean"`, the default, for the kernel as it is; or `"gaussian"`, for
            the mean of an element-wise activation over a Gaussian with the mean and
            variance that the masks give its input (32 nodes, not the paper's samples:
            repeatable).
        seed: Int, for the masks. Defaults to `None`.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: What `layer` accepts.
        training: Bool, whether to drop weights.
        mask: Mask of the inputs, given to `layer` if it takes one.

    Input and output shape:
        Those of `layer`.

    Raises:
        ValueError: If `rate` or `inference` is not one of the above, if `layer` has no
            kernel, or none that `per_example` and `inference="gaussian"` can take.

    Example:
    >>> head = DropConnect(keras.layers.Dense(10), rate=0.3, seed=0)
    >>> tuple(head(keras.ops.ones((4, 32)), training=True).shape)
    (4, 10)
    """

    def __init__(
        self,
        layer: keras.Layer,
        rate: float = 0.5,
        per_example: bool = False,
        drop_bias: bool = False,
        inference: str = "mean",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dtype", getattr(layer, "dtype_policy", None))
        super().__init__(layer, **kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"`rate` must be in [0, 1). Received: rate={rate}")
        if inference not in ("mean", "gaussian"):
            raise ValueError(
                "`inference` must be 'mean' or 'gaussian'. "
                f"Received: inference={inference}"
            )
        kinds = tuple(getattr(keras.layers, name) for name in LINEAR.split())
        linear = isinstance(layer, kinds) and layer.activity_regularizer is None
        if not linear and (per_example or inference == "gaussian"):
            raise ValueError(
                "`per_example` and `inference='gaussian'` take one of these without an "
                f"activity regularizer: {LINEAR}. Received: layer={layer}"
            )
        if inference == "gaussian":
            activation = keras.activations.serialize(layer.activation)
            if activation in NOT_BY_ELEMENT:
                raise ValueError(
                    "`inference='gaussian'` needs a nonlinear activation in the layer "
                    f"that works by element. Received: activation={activation}"
                )
        self.rate = rate
        self.per_example = per_example
        self.drop_bias = drop_bias
        self.inference = inference
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def build(self, input_shape):
        """Builds the layer and checks that it has a kernel."""
        super().build(input_shape)
        if not any(v.name.endswith("kernel") for v in self.layer.variables):
            raise ValueError(f"`layer` has no kernel. Received: layer={self.layer}")

    def call(self, inputs, training=False, mask=None):
        """Runs the layer, in training with masked kernels."""
        takes_mask = "mask" in inspect.signature(self.layer.call).parameters
        arguments = {"mask": mask} if takes_mask and mask is not None else {}
        if self.rate > 0 and training:
            if self.per_example:
                return self._call_per_example(inputs)
            masked = [(v, v.value * self._masks(v)[0]) for v in self._dropped()]
            return self._call_with(masked, inputs, **arguments)
        if self.rate > 0 and self.inference == "gaussian":
            return self._call_gaussian(inputs)
        return self.layer(inputs, **arguments)

    def _call_per_example(self, inputs):
        means, deviations = [], self._zeros()
        for v in self._dropped():
            one, other = self._masks(v, 2)
            means.append((v, v.value * ((one + other) / 2)))
            deviations.append((v, v.value * ((one - other) / 2)))
        mean = self._call_linear(means, inputs)
        deviation = self._call_linear(deviations, inputs * self._signs(inputs, 0))
        return self.layer.activation(mean + deviation * self._signs(mean, 2))

    def _call_gaussian(self, inputs):
        mean = self._call_linear([], inputs)
        ratio = self.rate / (1 - self.rate)
        squares = [(v, ratio * ops.square(v.value)) for v in self._dropped()]
        variance = self._call_linear(self._zeros() + squares, ops.square(inputs))
        # The floor keeps the gradient of the root finite.
        stddev = ops.sqrt(ops.maximum(variance, keras.config.epsilon()))
        nodes = np.linspace(-5, 5, 32)
        density = np.exp(-(nodes**2) / 2)
        return sum(
            float(weight) * self.layer.activation(mean + float(node) * stddev)
            for node, weight in zip(nodes, density / density.sum(), strict=True)
        )

    def _call_linear(self, values, inputs):
        """Runs the layer with other values and without its activation."""
        activation, self.layer.activation = self.layer.activation, None
        try:
            return self._call_with(values, inputs)
        finally:
            self.layer.activation = activation

    def _call_with(self, values, inputs, **arguments):
        """Runs the layer with other values for some of its variables."""
        # List every variable: a nested scope hides the outer one, which breaks JAX.
        values = [(v, v.value) for v in self.layer.variables] + values
        state = self.layer.non_trainable_variables
        with keras.StatelessScope(values, collect_losses=True) as scope:
            before = [scope.get_current_value(v) for v in state]
            outputs = self.layer(inputs, **arguments)
            after = [scope.get_current_value(v) for v in state]
        for v, old, new in zip(state, before, after, strict=True):
            if new is not old:
                v.assign(new)
        for loss in scope.losses:
            self.add_loss(loss * 1)  # The layer would count the same tensor again.
        return outputs

    def _dropped(self):
        names = ("kernel", "bias") if self.drop_bias else ("kernel",)
        return [v for v in self.layer.variables if v.name.endswith(names)]

    def _zeros(self):
        return [(v, ops.zeros_like(v.value)) for v in self.layer.variables]

    def _masks(self, v, count=1):
        """One mask, or two antithetic ones: 0 to drop, 1 / (1 - rate) to keep."""
        # In tensors, so that the rate may be one. The last float below 2 ** 31.
        threshold = ops.convert_to_tensor((self.rate - 0.5) * 2**32, "float32")
        threshold = ops.cast(ops.clip(threshold, 1 - 2**31, 2**31 - 128), "int32")
        tests = (lambda word: word >= threshold, lambda word: word < -threshold)
        return [
            ops.cast(kept, v.value.dtype) / (1 - self.rate)
            for kept in self._draw(v.shape, tests[:count])
        ]

    def _signs(self, x, term):
        """Signs for each example and each row (term 0) or column (2) of the kernel."""
        shape = ops.shape(x)
        if isinstance(self.layer, keras.layers.EinsumDense):
            terms = re.split(",|->", self.layer.equation)
            dots = "." * (len(shape) - len(terms[term].replace("...", "")))
            letters = terms[term].replace("...", dots)
            axes = [axis for axis, a in enumerate(letters) if a in terms[1]]
        elif getattr(self.layer, "data_format", None) == "channels_first":
            axes = [1]
        else:
            axes = [len(shape) - 1]
        shape = [n if axis in (0, *axes) else 1 for axis, n in enumerate(shape)]
        (positive,) = self._draw(shape, [lambda word: word >= 0])
        return 2 * ops.cast(positive, x.dtype) - 1

    def _draw(self, shape, tests):
        """Puts random 32-bit integers to each test.

        Drawing them is most of the cost, so one word makes four, each led by another
        of its bytes. What follows that byte decides about one weight in 256 only.
        """
        *first, last = shape
        shape = (*first, -(-last // 4))
        word = keras.random.randint(
            shape, -(2**31), 2**31 - 1, dtype="int32", seed=self.seed_generator
        )
        ends = ops.bitwise_xor(ops.left_shift(word, 24), ops.right_shift(word, 8))
        words = [word, ops.left_shift(word, 8), ops.left_shift(word, 16), ends]
        return [ops.concatenate([t(w) for w in words], -1)[..., :last] for t in tests]

    def compute_mask(self, inputs, previous_mask):
        """The mask that the layer computes."""
        return self.layer.compute_mask(inputs, previous_mask)

    def compute_output_shape(self, input_shape):
        """The output shape of the layer."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self):
        """Returns the arguments."""
        names = ("rate", "per_example", "drop_bias", "inference", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Creates the layer, without changing the config."""
        return super().from_config(dict(config), custom_objects)
