"""Callbacks."""

from hornbook.recipes.callbacks.full_state import FullState

__all__ = [
    "FullState",
]
