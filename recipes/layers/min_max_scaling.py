# SPDX-License-Identifier: Apache-2.0
"""MinMaxScaling: scale each feature to one interval, by its minimum and maximum.

What:    an input layer that maps each feature's range linearly to `feature_range`.
         `adapt(data)` computes the ranges, in one pass over an array or a stream.
When:    features are bounded and have different units, or zeros must stay at one end.
Not for: features with outliers, which compress the rest (`keras.layers.Normalization`);
         images whose range is known (`keras.layers.Rescaling`).
Source:  scikit-learn's `MinMaxScaler`.
Differs: a feature that was constant always becomes the lower end.
Needs:   keras>=3.12.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class MinMaxScaling(keras.layers.Layer):
    """Computes `low + (high - low) * (x - minimum) / (maximum - minimum)`.

    `low` and `high` are the ends of `feature_range`. Values outside the range that
    `adapt` saw land outside `[low, high]`; nothing is clipped.

    Use it like `Normalization`: `adapt` to the training data alone, then build the
    model. Adapting it again changes models that contain it.
    The output is computed in float32 at least and then cast, under any dtype policy.

    Args:
        axis: Int or tuple of ints, the axes along which every index has its own range,
            as in `Normalization`: -1, the default, for each feature or channel. `None`
            for one range for everything. Never the batch axis.
        feature_range: Two floats, `low` and `high`, to which minimum and maximum are
            mapped. Defaults to `(0.0, 1.0)`.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, ...)` of rank 2 or more, of floats or ints.

    Returns:
        Tensor of the same shape.

    Raises:
        ValueError: If `feature_range` is not two finite numbers in order, if the layer
            is used before `adapt`, or `adapt` gets unsuitable data (see there).

    Example:
    >>> x = np.array([[0.0, 10.0], [4.0, 30.0], [1.0, 50.0]])
    >>> train, test = x[:2], x[2:]
    >>> layer = MinMaxScaling()
    >>> layer.adapt(train)  # Not to x: nothing may be learned from test data.
    >>> keras.ops.convert_to_numpy(layer(test)).tolist()
    [[0.25, 2.0]]
    """

    def __init__(
        self,
        axis: int | tuple[int, ...] | None = -1,
        feature_range: tuple[float, float] = (0.0, 1.0),
        **kwargs: Any,
    ) -> None:
        # Inputs must not be rounded to float16 before their minimum is taken off.
        super().__init__(autocast=False, **kwargs)
        axes = [] if axis is None else axis
        axes = tuple(axes) if isinstance(axes, list | tuple) else (axes,)
        if not all(type(each) is int and each != 0 for each in axes):
            raise ValueError(
                "`axis` must be an int, a tuple of ints or None, without the batch "
                f"axis. Received: axis={axis}"
            )
        if (
            not isinstance(feature_range, list | tuple)
            or len(feature_range) != 2
            or not -math.inf < feature_range[0] < feature_range[1] < math.inf
        ):
            raise ValueError(
                "`feature_range` must be two finite numbers, the lower first. "
                f"Received: feature_range={feature_range}"
            )
        self.axis = axes if isinstance(axis, list) else axis
        self.feature_range = tuple(feature_range)
        self.adapted = False
        self._axes = axes

    def adapt(self, data: Any) -> None:
        """Computes the minima and maxima from data.

        Args:
            data: Array or tensor `(examples, ...)`, or batches of such: a
                `tf.data.Dataset`, a `keras.utils.PyDataset` or any iterable. Of
                batches `(x, y)` it takes `x`. Only the axes in `axis` must have one
                size throughout.

        Raises:
            ValueError: If there are no examples, if they hold NaN or infinity, differ
                in shape, or do not fit what the layer was built for.
        """
        minimum, maximum = math.inf, -math.inf
        shape = self.input_spec.shape if self.built else None
        for batch in [data] if hasattr(data, "shape") else data:
            x = batch[0] if isinstance(batch, list | tuple) else batch
            x = ops.convert_to_numpy(x) if ops.is_tensor(x) else np.asarray(x)
            shape = shape or self._ranged(x.shape)
            if self._ranged(x.shape) != shape:
                raise ValueError(
                    "`adapt` needs examples of one shape, at least along `axis`: here "
                    f"{shape}. Received: a batch of shape {x.shape}"
                )
            if not x.size:
                continue
            others = tuple(i for i, size in enumerate(shape) if size is None)
            least = x.min(axis=others, keepdims=True)[0].astype("float64")
            largest = x.max(axis=others, keepdims=True)[0].astype("float64")
            if not np.isfinite([least, largest]).all():
                raise ValueError(
                    "`adapt` needs finite numbers. Received: NaN or infinity in a "
                    f"batch of shape {x.shape}"
                )
            minimum = np.minimum(minimum, least)
            maximum = np.maximum(maximum, largest)
        if not np.ndim(minimum):
            raise ValueError("`adapt` needs an example. Received: none")

        self.adapted = True
        if not self.built:
            self.build(shape)
        self.minimum.assign(minimum)
        self.maximum.assign(maximum)

    def _ranged(self, shape):
        """The shape with None for the axes that share one range."""
        rank = len(shape)
        axes = {axis + rank if axis < 0 else axis for axis in self._axes}
        if rank < 2 or not axes <= set(range(1, rank)):
            raise ValueError(
                "Inputs must have a batch and the axes that `axis` names. "
                f"Received: axis={self.axis}, shape={tuple(shape)}"
            )
        return tuple(size if i in axes else None for i, size in enumerate(shape))

    def build(self, input_shape):
        """Creates the weights, which `adapt` or a file fills."""
        if not self.adapted:
            raise ValueError(
                "The layer must be adapted before it is used: call `adapt(data)`. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        shape = self._ranged(input_shape)
        for name in ("minimum", "maximum"):
            weight = self.add_weight(
                name=name,
                shape=[size or 1 for size in shape[1:]],
                # A model rebuilt without its weights must not look as if it worked.
                initializer=keras.initializers.Constant(math.nan),
                dtype=keras.backend.result_type(self.variable_dtype, "float32"),
                trainable=False,
                autocast=False,
            )
            setattr(self, name, weight)
        self.input_spec = keras.layers.InputSpec(shape=shape)

    def call(self, inputs):
        x = ops.cast(inputs, self.minimum.dtype)
        span = self.maximum - self.minimum
        constant = ops.equal(span, 0)
        x = (x - self.minimum) / ops.where(constant, 1.0, span)
        low, high = self.feature_range
        x = low + (high - low) * ops.where(constant, 0.0, x)
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "axis": self.axis,
            "feature_range": self.feature_range,
        }

    def build_from_config(self, config):
        self.adapted = True
        self.build(config["input_shape"])
