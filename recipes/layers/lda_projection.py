# SPDX-License-Identifier: Apache-2.0
"""LDAProjection: the few directions that separate the classes best.

What:    an input layer that projects onto at most `classes - 1` directions; `adapt(x,
         y)` computes them, in one pass over arrays or a stream.
When:    labelled features, for example of a frozen backbone, in few dimensions.
Not for: plain standardisation (`keras.layers.Normalization`); classes that differ in
         variance and not in mean; large images (features² entries while adapting).
Source:  Rao, "The Utilization of Multiple Measurements in Problems of Biological
         Classification", JRSS B 1948. One pass by Chan, Golub and LeVeque, "Algorithms
         for Computing the Sample Variance", The American Statistician 1983.
Differs: from scikit-learn's `shrinkage`: features are standardised first, and only the
         scatter within classes shrinks, not the one between them.
Needs:   keras>=3.12.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

TOLERANCE = 1e-10  # the share of a feature's variance that counts as none


@keras.saving.register_keras_serializable(package="hornbook")
class LDAProjection(keras.layers.Layer):
    """Computes `(x - mean) @ W`, W the solutions of `S_between w = μ S_within w`.

    Features are all axes but the batch, flattened. Directions are in decreasing order
    of μ, scaled to variance 1 within classes (with `n`) as in scikit-learn's
    `LinearDiscriminantAnalysis(solver="eigen")`, each with the sign that makes its
    largest entry positive.

    Use it like `Normalization`: `adapt` to the training data alone, then build the
    model. Adapting it again, with as many components, changes models that contain it.
    Sums are in float64, in memory that does not grow with the number of examples; the
    output is computed in float32 at least and then cast, under any dtype policy.

    Args:
        n_components: Positive int, at most `classes - 1`. Defaults to `None`, which is
            as many as possible.
        shrinkage: Float from 0 to 1, how far the scatter within classes, of features
            standardised to variance 1, is shrunk towards a multiple of the identity.
            Needed if there are fewer examples than features. Defaults to 0.
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
    >>> y = np.arange(500) % 3
    >>> x = rng.normal(size=(500, 8)) + 4 * np.eye(3, 8)[y]
    >>> layer = LDAProjection()
    >>> layer.adapt(x[:400], y[:400])  # Not the test set: its labels would leak.
    >>> tuple(layer(x[400:]).shape)
    (100, 2)
    """

    def __init__(
        self, n_components: int | None = None, shrinkage: float = 0.0, **kwargs: Any
    ) -> None:
        # Inputs must not be rounded to float16 before their mean is taken off.
        super().__init__(autocast=False, **kwargs)
        if n_components is not None and (
            type(n_components) is not int or n_components < 1
        ):
            raise ValueError(
                "`n_components` must be a positive int or None. "
                f"Received: n_components={n_components}"
            )
        if not 0 <= shrinkage <= 1:
            raise ValueError(
                f"`shrinkage` must be from 0 to 1. Received: shrinkage={shrinkage}"
            )
        self.n_components = n_components
        self.shrinkage = shrinkage
        self.kept = None  # The number of components, which may depend on the data.

    def adapt(self, x: Any, y: Any = None) -> None:
        """Computes the mean and the directions from labelled data.

        Args:
            x: Array or tensor `(examples, ...)`, or batches `(x, y)` of such: a
                `tf.data.Dataset`, a `keras.utils.PyDataset` or any iterable.
            y: Array of labels, `(examples,)` or `(examples, 1)`, if `x` is one.

        Raises:
            ValueError: If there are not more classes than components, or they differ in
                a direction in which none varies; if examples hold NaN or infinity, have
                different shapes, lack labels or do not fit the built layer.
        """
        shape, counts, means, scatter = _moments(x if y is None else [(x, y)])
        shares = counts / counts.sum()
        mean = shares @ means
        apart = means - mean
        # Of a constant far from 0, rounding alone would tell the classes apart.
        apart[np.abs(apart) < 8 * np.finfo("float64").eps * np.abs(mean)] = 0
        root = np.sqrt(shares)[:, None] * apart  # root.T @ root is S_between
        kernel = self._directions(scatter / counts.sum(), root)
        limit = min(len(counts) - 1, kernel.shape[1])
        kept = self.n_components or limit
        if not 0 < kept <= limit:
            raise ValueError(
                f"{max(kept, 1)} components need more classes, and as many independent "
                f"features. Received: {len(counts)} classes, examples of shape {shape}"
            )
        if self.built and (shape, kept) != (self.input_spec.shape[1:], self.kept):
            raise ValueError(
                f"The layer was built for {self.kept} components of "
                f"{self.input_spec.shape[1:]}. Received: {kept} components of {shape}"
            )
        kernel = kernel[:, :kept]
        largest = np.abs(kernel).argmax(axis=0)
        kernel = kernel * np.sign(kernel[largest, np.arange(kept)])

        self.kept = kept
        if not self.built:
            self.build((None, *shape))
        self.mean.assign(mean)
        self.kernel.assign(kernel)
        # What rounding takes from a mean far from 0 would shift every output.
        self.bias.assign((ops.convert_to_numpy(self.mean) - mean) @ kernel)

    def _directions(self, within, root):
        """All directions, best first, in columns."""
        scale = np.sqrt(np.diag(within) + (root**2).sum(axis=0))
        scale[scale == 0] = 1
        root = root / scale
        within /= np.outer(scale, scale)
        target = np.eye(len(scale)) * np.trace(within) / len(scale)
        within += self.shrinkage * (target - within)
        values, vectors = np.linalg.eigh(within)
        none = values < TOLERANCE
        if ((root @ vectors[:, none]) ** 2).sum() > TOLERANCE:
            raise ValueError(
                "Classes differ in directions in which none of them varies: use more "
                f"examples or more shrinkage. Received: shrinkage={self.shrinkage}"
            )
        white = vectors[:, ~none] / np.sqrt(values[~none])
        _, _, rotation = np.linalg.svd(root @ white, full_matrices=False)
        return white @ rotation.T / scale[:, None]

    def build(self, input_shape):
        """Creates the weights, which `adapt` or a file fills."""
        if self.kept is None:
            raise ValueError(
                "The layer must be adapted before it is used: call `adapt(x, y)`. "
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
            "shrinkage": self.shrinkage,
        }

    def get_build_config(self):
        config = super().get_build_config()
        return config and {**config, "kept": self.kept}

    def build_from_config(self, config):
        self.kept = config["kept"]
        self.build(config["input_shape"])


def _moments(data):
    """Shape of an example; number and mean of each class; scatter within them all."""
    counts, means, scatter = {}, {}, 0.0
    for block, labels in _blocks(data):
        x = block.reshape(len(block), -1)
        shifts = []
        names, numbers = np.unique(labels, return_inverse=True)
        for number, label in enumerate(names):
            rows = numbers == number
            part = x[rows]
            middle = part[0] + (part - part[0]).mean(axis=0)  # exact where constant
            x[rows] = part - middle
            before, mean = counts.get(label, 0), means.get(label, 0.0)
            counts[label] = before + len(part)
            share, shift = len(part) / counts[label], middle - mean
            means[label] = mean + share * shift
            shifts.append(np.sqrt(before * share) * shift)
        if not np.isfinite(shifts).all():
            raise ValueError("`adapt` needs finite numbers. Received: NaN or infinity")
        scatter += x.T @ x
        scatter += np.transpose(shifts) @ shifts
    if not counts:
        raise ValueError("`adapt` needs examples. Received: none")
    counts, means = (np.array(list(each.values())) for each in (counts, means))
    return block.shape[1:], counts, means, scatter


def _blocks(batches):
    """Regroups batches into float64 blocks, one after another in the same memory."""
    block, filled, shape = None, 0, None
    for batch in batches:
        x, y = (
            ops.convert_to_numpy(each) if ops.is_tensor(each) else np.asarray(each)
            for each in batch[:2]
        )
        shape = shape or x.shape[1:]
        if x.ndim < 2 or 0 in shape or x.shape[1:] != shape or y.size != len(x):
            raise ValueError(
                "`adapt` needs examples of one shape, (batch, ...), and a label each. "
                f"Received: x of shape {x.shape}, y of shape {y.shape}"
            )
        if block is None:
            features = math.prod(shape)
            # Each block costs a pass over the scatter matrix, so it has as many rows.
            block = np.empty((max(features, 2**18 // features), *shape))
            labels = np.empty(len(block), object)
        y = y.ravel()
        while len(x):
            n = min(len(x), len(block) - filled)
            block[filled : filled + n], labels[filled : filled + n] = x[:n], y[:n]
            x, y, filled = x[n:], y[n:], filled + n
            if filled == len(block):
                yield block, labels
                filled = 0
    if filled:
        yield block[:filled], labels[:filled]
