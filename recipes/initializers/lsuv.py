# SPDX-License-Identifier: Apache-2.0
"""lsuv: initialize layers so that their outputs, on real data, have unit variance.

What:    draws a built model's kernels orthonormal, then scales them, layer by layer.
When:    deep networks without normalisation layers; activations of unknown gain.
Not for: pretrained weights; recurrent layers; networks with normalisation layers.
Source:  Mishkin and Matas, "All You Need Is a Good Init", ICLR 2016.
Differs: within 1 % of unit variance, where they stop at 10 %.
Needs:   keras>=3.12.
"""

import contextlib
import functools
from typing import Any

import keras
import numpy as np
from keras import ops

KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")


def lsuv(
    model: keras.Layer,
    data: Any,
    tol: float = 0.01,
    max_iter: int = 10,
    seed: int | None = None,
) -> list[tuple[str, float, int]]:
    """Initialises a model by layer-sequential unit variance, in place.

    In the order in which the model calls them, each dense and convolutional layer
    gets an orthonormal kernel, which is then divided by the standard deviation of
    the layer's outputs, before its activation, over all examples, positions and
    units. A layer that is linear in its kernel needs one division; with a bias that
    is not 0 it takes more. All other weights, such as biases and those of
    normalization layers, are not changed.

    The model runs in inference mode and eagerly, nested and subclassed models too;
    once for each layer, up to that layer. Frozen layers are not changed. A layer that
    is called several times is scaled for its first call, a separable convolution by
    its pointwise kernel.

    Args:
        model: A `keras.Model` or layer.
        data: One batch of inputs for the model, with some hundred examples or more.
        tol: Float, how far from 1 a variance may remain. Defaults to 0.01.
        max_iter: Int, the maximum number of divisions for a layer. Defaults to 10.
        seed: Int, for the orthonormal kernels. Defaults to `None`.

    Returns:
        A list with `(path, scale, iterations)` for each layer, in order: the factor of
        its orthonormal kernel, and the number of divisions.

    Raises:
        ValueError: If the model calls no layer with a trainable kernel, or if after
            `max_iter` divisions the variance of a layer's outputs is not within `tol`
            of 1, for example because they do not depend on the data or the kernel.

    Example:
    >>> relu = [keras.layers.Dense(64, activation="relu") for _ in range(3)]
    >>> model = keras.Sequential([keras.Input((32,)), *relu, keras.layers.Dense(10)])
    >>> x = np.random.default_rng(0).normal(size=(256, 32))
    >>> for path, scale, iterations in lsuv(model, x, seed=0):
    ...     print(iterations)
    1
    1
    1
    1
    >>> y = keras.ops.convert_to_numpy(model(x))
    >>> bool(abs(y.var() - 1) < 0.01)
    True
    """
    model(data, training=False)  # builds what is not yet
    order = []
    with contextlib.ExitStack() as stack:
        for layer in model._flatten_layers():
            if _kernels(layer):
                see = functools.partial(lambda layer, *_: order.append(layer), layer)
                stack.enter_context(_watched(layer, see))
        model(data, training=False)
    if not order:
        raise ValueError(
            f"The model calls no layer with a trainable kernel. Received: model={model}"
        )
    orthogonal = keras.initializers.Orthogonal(seed=keras.random.SeedGenerator(seed))
    report = []
    for layer in dict.fromkeys(order):
        args, kwargs = _arguments(model, layer, data)
        *_, last = kernels = _kernels(layer)
        for kernel in kernels:
            kernel.assign(orthogonal(kernel.shape, dtype="float32"))
        with _replaced(layer, "activation", keras.activations.linear):
            output = functools.partial(layer, *args, **kwargs)
            found = _scale(last, output, tol, max_iter)
        report.append((layer.path, *found))
    return report


def _kernels(layer):
    """A layer's own trainable kernels, in the order in which it applies them."""
    if hasattr(layer, "recurrent_kernel"):
        return []
    found = [getattr(layer, name, None) for name in KERNELS]
    return [v for v in found if isinstance(v, keras.Variable) and v.trainable]


def _scale(kernel, output, tol, max_iter):
    """Divides a kernel until the output's variance is 1: by what, in how many steps."""
    scale = 1.0
    for iterations in range(max_iter + 1):
        variance = ops.convert_to_numpy(output()).astype("float64").var()
        if abs(variance - 1) <= tol:
            return scale, iterations
        if not 0 < variance < np.inf:
            break
        factor = float(variance**-0.5)
        kernel.assign(kernel * factor)
        scale *= factor
    raise ValueError(
        f"The outputs of the layer with the kernel {kernel.path!r} do not get unit "
        f"variance in {iterations} iterations. Received: variance={variance}"
    )


class _Reached(BaseException):
    """Ends a forward pass. Not an `Exception`, which Keras would reword."""


def _arguments(model, layer, data):
    """What a layer is first called with."""
    seen = []

    def see(*arguments):
        seen.extend(arguments)
        raise _Reached

    with contextlib.suppress(_Reached), _watched(layer, see):
        model(data, training=False)
    return seen


def _watched(layer, see):
    """Shows the arguments of a layer's calls to a function, while in this context."""
    call = layer.call

    def watched(*args, **kwargs):
        see(args, kwargs)
        return call(*args, **kwargs)

    return _replaced(layer, "call", watched)


@contextlib.contextmanager
def _replaced(layer, name, value):
    """Puts a value in an attribute's place, unseen by what tracks attributes."""
    own = vars(layer)
    before = {key: each for key, each in own.items() if key == name}
    own[name] = value
    try:
        yield
    finally:
        del own[name]
        own.update(before)
