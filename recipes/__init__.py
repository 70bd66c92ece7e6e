"""Every recipe, one idea a file. Importing this registers them all with Keras."""

from hornbook.recipes import (
    augmentation,
    callbacks,
    data,
    diagnosis,
    inference,
    initializers,
    layers,
    optimizers,
    regularizers,
)

__all__ = [
    "augmentation",
    "callbacks",
    "data",
    "diagnosis",
    "inference",
    "initializers",
    "layers",
    "optimizers",
    "regularizers",
]
