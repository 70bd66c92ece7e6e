"""Callbacks."""

from hornbook.recipes.callbacks.full_state import FullState
from hornbook.recipes.callbacks.snapshot_ensemble import SnapshotEnsemble

__all__ = [
    "FullState",
    "SnapshotEnsemble",
]
