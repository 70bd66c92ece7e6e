# SPDX-License-Identifier: Apache-2.0
"""recalibrate_batchnorm: exact statistics in place of BatchNorm's running averages.

What:    sets each BatchNormalization layer's mean and variance to those of a data set.
When:    after averaging weights, after fine-tuning, for data unlike the training data.
Not for: models without BatchNormalization, such as those with group or layer norms.
Source:  Ioffe and Szegedy, "Batch Normalization", ICML 2015 (algorithm 2); Izmailov et
         al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI
         2018.
Differs: layer after layer, each over the whole set; there, averages over training
         batches, in which each layer's inputs are normalised by the batch.
Needs:   keras>=3.12.
"""

import contextlib
import functools
from typing import Any

import keras
import numpy as np
from keras import ops


def recalibrate_batchnorm(
    model: keras.Layer, data: Any, batch_size: int = 128
) -> list[tuple[str, float, float]]:
    """Gives each BatchNormalization layer the exact mean and variance of its inputs.

    The layers are set in the order in which the model calls them, each from inputs
    that those before it normalise exactly. The variance is that of the population,
    over all examples and positions: the mean of the batches' variances plus the
    variance of their means, weighted by their sizes. Sums are in float64. Masked
    steps are left out, and a layer that is called several times in one forward pass
    gets the statistics of all its calls.

    The model runs in inference mode and eagerly, nested and subclassed models too.
    Frozen layers are set like the others. Nothing has to be compiled again. After an
    error the old statistics are restored.

    The cost is one pass over the data for each layer, up to that layer: 7 to 9 times
    a whole forward pass for 12 layers. Memory is that of one batch.

    Args:
        model: A `keras.Model` or layer.
        data: An array, or a dict of arrays by input, or an iterable of batches that
            can be iterated over more than once: a list, `PyDataset`, `tf.data.Dataset`
            or `DataLoader`. Batches may have different sizes, and be `x` or tuples
            `(x, y, …)`. Each pass should give the same examples, in any order, and end.
        batch_size: Int, how many examples of an array to take at a time. Defaults to
            128.

    Returns:
        A list with `(path, mean gap, variance gap)` for each layer, in order: how far
        off its statistics were in the worst channel. The first is in standard
        deviations of that channel, the second relative to its variance (both with
        the layer's `epsilon`).

    Raises:
        ValueError: If the model calls no BatchNormalization layer, the data are
            empty or can be iterated over only once, or the inputs of a layer are not
            finite or all masked.

    Example:
    >>> norm = keras.layers.BatchNormalization(name="norm")
    >>> model = keras.Sequential([keras.Input((1,)), norm], name="net")
    >>> ((path, mean_gap, variance_gap),) = recalibrate_batchnorm(
    ...     model, [np.array([[0.0], [2.0]]), np.array([[7.0]])]
    ... )
    >>> path, round(mean_gap, 3), round(variance_gap, 3)
    ('net/norm', 1.019, 0.885)
    >>> [round(float(v[0]), 3) for v in (norm.moving_mean, norm.moving_variance)]
    [3.0, 8.667]
    """
    if hasattr(data, "__next__"):
        raise ValueError(
            "`data` can be iterated over only once: make it a list. "
            f"Received: data={data!r:.80}"
        )
    calls = _calls(model, next(_batches(data, batch_size), None))
    if not calls:
        raise ValueError(
            "There are no data, or the model calls no BatchNormalization layer. "
            f"Received: model={model}, data={data!r:.80}"
        )
    before = {layer: _statistics(layer) for layer in calls}
    gaps = []
    try:
        for layer, (old_mean, old_variance) in before.items():
            batches = _batches(data, batch_size)
            mean, variance = _moments(
                _inputs(model, layer, calls.count(layer), x) for x in batches
            )
            if not np.isfinite(variance).all():
                raise ValueError(
                    f"The layer {layer.path!r} gets no inputs, or some not finite. "
                    f"Received: data={data!r:.80}"
                )
            _set_statistics(layer, mean, variance)
            scale = variance + layer.epsilon
            mean_gap = np.max(np.abs(old_mean - mean) / np.sqrt(scale))
            variance_gap = np.max(np.abs(old_variance - variance) / scale)
            gaps.append((layer.path, float(mean_gap), float(variance_gap)))
    except BaseException:
        for layer, statistics in before.items():
            _set_statistics(layer, *statistics)
        raise
    return gaps


def _statistics(layer):
    return [
        ops.convert_to_numpy(variable).astype("float64")
        for variable in (layer.moving_mean, layer.moving_variance)
    ]


def _set_statistics(layer, mean, variance):
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)


def _batches(data, batch_size):
    """Yields what the model takes, batch by batch."""
    if not isinstance(data, dict) and not hasattr(data, "shape"):
        for batch in data:
            yield keras.utils.unpack_x_y_sample_weight(batch)[0]
        return
    arrays = data if isinstance(data, dict) else {None: data}
    for start in range(0, len(next(iter(arrays.values()))), batch_size):
        part = {key: x[start : start + batch_size] for key, x in arrays.items()}
        yield part if isinstance(data, dict) else part[None]


@contextlib.contextmanager
def _watched(layer, see):
    """Shows a layer's inputs, and their mask, to a function before each call."""
    own, call = vars(layer), layer.call
    before = {key: value for key, value in own.items() if key == "call"}

    def watched(inputs, *args, **kwargs):
        see(inputs, kwargs.get("mask"))
        return call(inputs, *args, **kwargs)

    own["call"] = watched
    try:
        yield
    finally:
        del own["call"]
        own.update(before)


def _calls(model, x):
    """The BatchNormalization layers in the order in which the model calls them."""
    if x is None:
        return []
    model(x, training=False)  # builds what is not yet
    calls = []
    with contextlib.ExitStack() as stack:
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                see = functools.partial(lambda layer, *_: calls.append(layer), layer)
                stack.enter_context(_watched(layer, see))
        model(x, training=False)
    return calls


class _Reached(BaseException):
    """Ends a forward pass. Not an `Exception`, which Keras would reword."""


def _inputs(model, layer, calls, x):
    """What a layer gets in a forward pass: an array of (examples, channels)."""
    seen = []

    def see(inputs, mask):
        values = ops.convert_to_numpy(inputs).astype("float64")
        values = np.moveaxis(values, layer.axis, -1)
        keep = ... if mask is None else ops.convert_to_numpy(mask).astype(bool)
        seen.append(values[keep].reshape(-1, values.shape[-1]))
        if len(seen) == calls:
            raise _Reached

    with contextlib.suppress(_Reached), _watched(layer, see):
        model(x, training=False)
    return np.concatenate(seen)


def _moments(batches):
    """The mean and the variance over the rows of all batches, by channel."""
    count, mean, squares = 0, 0.0, 0.0
    for rows in batches:
        if len(rows):
            total = count + len(rows)
            step = rows.mean(axis=0) - mean
            mean = mean + step * len(rows) / total
            # Those within the batch, and those between it and all before it.
            squares = squares + rows.var(axis=0) * len(rows)
            squares = squares + step**2 * count * len(rows) / total
            count = total
    return mean, squares / count if count else np.nan
