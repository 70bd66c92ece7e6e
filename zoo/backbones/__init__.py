"""Any Keras backbone as one thing: raw pixels in, features out, ready for a head."""

import importlib
from typing import Any

# Eager, since a function that has the name of its module cannot be found lazily.
from hornbook.zoo.backbones.open_backbone import open_backbone

__all__ = ["Backbone", "open_backbone"]


def __getattr__(name: str) -> Any:
    """Imports `Backbone` when it is used: the table is read without Keras."""
    if name == "Backbone":
        return importlib.import_module("hornbook.zoo.backbones.backbone").Backbone
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The names that can be imported."""
    return sorted({*globals(), *__all__})
