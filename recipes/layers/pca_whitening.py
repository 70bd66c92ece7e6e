# SPDX-License-Identifier: Apache-2.0
"""PCAWhitening: rotate inputs to their principal axes and give each variance 1.

What:    an input layer that decorrelates; `adapt(data)` computes its mean and axes, in
         one pass over an array or a stream.
When:    features are correlated and have unequal variances; also to keep fewer of them.
Not for: plain standardisation (`keras.layers.Normalization`); large images, whose
         kernel has features² entries; data whose small components are only noise,
         which would be amplified (keep fewer, or raise `epsilon`).
Source:  Kessy, Lewin and Strimmer, "Optimal Whitening and Decorrelation", The American
         Statistician 2018. One pass by Chan, Golub and LeVeque, "Algorithms for
         Computing the Sample Variance", The American Statistician 1983.
Needs:   keras>=3.12.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class PCAWhitening(keras.layers.Layer):
    """Computes `(x - mean) @ V / sqrt(λ + epsilon)`, λ and V those of the covariance.

    Features are all axes but the batch, flattened. Components are in
    decreasing order of variance λ (with `n - 1`), each with the sign that makes its
    largest entry positive, as in scikit-learn's `PCA(whiten=True)`.

    Use it like `Normalization`: `adapt` to the training data alone, then build the
    model. Adapting it again, with as many components, changes models that contain it.
    Sums are in float64, in memory that does not grow with the number of examples; the
    output is computed in float32 at least and then cast, under any dtype policy.

    Args:
        n_components: How many to keep: a positive int, a float between 0 and 1 for the
            fewest that hold this fraction of the variance, or `None`, the default, for
            all.
        epsilon: Positive float, added to λ. Directions with less variance than this
            are damped instead of amplified. Defaults to 1e-6.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, ...)` of rank 2 or more, of floats or ints.

    Returns:
        Tensor `(batch, n_components)`.

    Raises:
        ValueError: If an argument is not one of the above; if the layer is used before
            `adapt`, or `adapt` gets unsuitable data (see there).

    Example:
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6))
    >>> train, test = x[:400], x[400:]
    >>> layer = PCAWhitening(n_components=3)
    >>> layer.adapt(train)  # Not to x: nothing may be learned from test data.
    >>> white = keras.ops.convert_to_numpy(layer(train))
    >>> bool(np.allclose(np.cov(white.T), np.eye(3), atol=1e-4))
    True
    >>> tuple(layer(test).shape)
    (100, 3)
    """

    def __init__(
        self,
        n_components: int | float | None = None,
        epsilon: float = 1e-6,
        **kwargs: Any,
    ) -> None:
        # Inputs must not be rounded to float16 before their mean is taken off.
        super().__init__(autocast=False, **kwargs)
        if not (
            n_components is None
            or (type(n_components) is int and n_components > 0)
            or (isinstance(n_components, float) and 0 < n_components < 1)
        ):
            raise ValueError(
                "`n_components` must be a positive int, a float between 0 and 1, or "
                f"None. Received: n_components={n_components}"
            )
        if not 0 < epsilon < math.inf:
            raise ValueError(f"`epsilon` must be positive. Received: epsilon={epsilon}")
        self.n_components = n_components
        self.epsilon = epsilon
        self.kept = None  # The number of components, which may depend on the data.

    def adapt(self, data: Any) -> None:
        """Computes the mean and the components from data.

        Args:
            data: Array or tensor `(examples, ...)`, or batches of such: a
                `tf.data.Dataset`, a `keras.utils.PyDataset` or any iterable. Of
                batches `(x, y)` it takes `x`.

        Raises:
            ValueError: If there are not more examples than components, if they hold
                NaN or infinity, differ in shape, or do not fit what the layer was
                built for.
        """
        shape, count, mean, scatter = _moments(data)
        scatter /= count - 1
        values, vectors = np.linalg.eigh(scatter)
        values, vectors = values[::-1].clip(0), vectors[:, ::-1]
        kept = _number(self.n_components, values)
        if kept > len(mean) or kept >= count:
            raise ValueError(
                f"{kept} components need as many features and more examples. "
                f"Received: {count} examples of {len(mean)} features"
            )
        if self.built and (shape, kept) != (self.input_spec.shape[1:], self.kept):
            raise ValueError(
                f"The layer was built for {self.kept} components of "
                f"{self.input_spec.shape[1:]}. Received: {kept} components of {shape}"
            )
        vectors = vectors[:, :kept]
        largest = np.abs(vectors).argmax(axis=0)
        vectors = vectors * np.sign(vectors[largest, np.arange(kept)])
        kernel = vectors / np.sqrt(values[:kept] + self.epsilon)

        self.kept = kept
        if not self.built:
            self.build((None, *shape))
        self.mean.assign(mean)
        self.kernel.assign(kernel)
        # What rounding takes from a mean far from 0 would shift every output.
        self.bias.assign((ops.convert_to_numpy(self.mean) - mean) @ kernel)

    def build(self, input_shape):
        """Creates the weights, which `adapt` or a file fills."""
        if self.kept is None:
            raise ValueError(
                "The layer must be adapted before it is used: call `adapt(data)`. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        features = math.prod(input_shape[1:])

        def weight(name, *shape):
            return self.add_weight(
                name=name,
                shape=shape,
                # A model rebuilt without its weights must not look as if it worked.
                initializer=keras.initializers.Constant(math.nan),
                dtype=keras.backend.result_type(self.variable_dtype, "float32"),
                trainable=False,
                autocast=False,
            )

        self.mean = weight("mean", features)
        self.kernel = weight("kernel", features, self.kept)
        self.bias = weight("bias", self.kept)
        self.input_spec = keras.layers.InputSpec(shape=(None, *input_shape[1:]))

    def call(self, inputs):
        x = ops.cast(inputs, self.kernel.dtype)
        x = ops.reshape(x, (-1, self.mean.shape[0]))
        x = ops.matmul(x - self.mean, self.kernel) + self.bias
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.kept)

    def get_config(self):
        return {
            **super().get_config(),
            "n_components": self.n_components,
            "epsilon": self.epsilon,
        }

    def get_build_config(self):
        config = super().get_build_config()
        return config and {**config, "kept": self.kept}

    def build_from_config(self, config):
        self.kept = config["kept"]
        self.build(config["input_shape"])


def _number(n_components, values):
    """How many components to keep, of these variances."""
    if isinstance(n_components, float):
        held = np.cumsum(values)
        return int(np.searchsorted(held, n_components * held[-1])) + 1
    return len(values) if n_components is None else n_components


def _moments(data):
    """Shape of an example, their number, their mean and scatter matrix."""
    count, mean, scatter = 0, 0.0, 0.0
    for block in _blocks(data):
        x = block.reshape(len(block), -1)
        middle = x[0] + (x - x[0]).mean(axis=0)  # exact where all are the same
        if not np.isfinite(middle).all():
            raise ValueError(
                "`adapt` needs finite numbers. Received: NaN or infinity among "
                f"examples {count} to {count + len(x) - 1}"
            )
        x -= middle
        shift = middle - mean
        weight = count * len(x) / (count + len(x))
        scatter += x.T @ x
        scatter += np.outer(weight * shift, shift)
        count += len(x)
        mean += shift * (len(x) / count)
    if count < 2:
        raise ValueError(f"`adapt` needs two examples. Received: {count} of them")
    return block.shape[1:], count, mean, scatter


def _blocks(data):
    """Regroups data into float64 blocks, one after another in the same memory."""
    block, filled, shape = None, 0, None
    for batch in [data] if hasattr(data, "shape") else data:
        x = batch[0] if isinstance(batch, list | tuple) else batch
        x = ops.convert_to_numpy(x) if ops.is_tensor(x) else np.asarray(x)
        shape = shape or x.shape[1:]
        if x.ndim < 2 or 0 in shape or x.shape[1:] != shape:
            raise ValueError(
                "`adapt` needs batches (batch, ...) of examples of one shape. "
                f"Received: a batch of shape {x.shape}"
            )
        if block is None:
            features = math.prod(shape)
            # Each block costs a pass over the scatter matrix, so it has as many rows.
            block = np.empty((max(features, 2**18 // features), *shape))
        while len(x):
            part = x[: len(block) - filled]
            block[filled : filled + len(part)] = part
            filled += len(part)
            x = x[len(part) :]
            if filled == len(block):
                yield block
                filled = 0
    if filled:
        yield block[:filled]
