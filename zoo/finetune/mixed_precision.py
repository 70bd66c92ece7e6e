"""Mixed precision for a model that is already built."""

import contextlib
from collections.abc import Iterator

import keras

from hornbook.compat import all_layers


@contextlib.contextmanager
def computing_in(model: keras.Model, mixed: str | None) -> Iterator[None]:
    """Lets the layers of a model compute in half precision, weights in float32.

    Layers that have a policy of their own keep it, and so do the last ones, named
    "probabilities", for the sake of the loss.

    Args:
        model: A built `keras.Model`.
        mixed: "float16", "bfloat16" or None.
    """
    layers = [
        layer
        for layer in all_layers(model)
        if mixed
        and layer.dtype_policy.name == "float32"
        and layer.name != "probabilities"
    ]
    before = [layer.dtype_policy for layer in layers]
    for layer in layers:
        layer.dtype_policy = f"mixed_{mixed}"
    try:
        yield
    finally:
        for layer, policy in zip(layers, before, strict=True):
            layer.dtype_policy = policy
