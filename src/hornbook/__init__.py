"""Recipes, a model zoo and a tuner for Keras.

Importing this package imports nothing heavy: `hornbook.recipes`, `hornbook.zoo` and
`hornbook.tuning` are imported when they are first asked for. `hornbook.recipes`
registers every recipe with Keras, so that a `.keras` file which uses one opens.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hornbook import recipes, tuning, zoo

__all__ = ["recipes", "tuning", "zoo"]
__version__ = "0.1.0"


def __getattr__(name: str):
    """Imports a part when it is first asked for."""
    if name in __all__:
        return importlib.import_module(f"hornbook.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What there is, also of what is not imported yet."""
    return sorted({*globals(), *__all__})
