"""Every recipe, one idea a file. Importing this registers them all with Keras."""

from hornbook.recipes import (
    callbacks,
    data,
    inference,
    initializers,
    layers,
    optimizers,
    regularizers,
)

__all__ = [
    "callbacks",
    "data",
    "inference",
    "initializers",
    "layers",
    "optimizers",
    "regularizers",
]
