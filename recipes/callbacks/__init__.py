"""Callbacks."""

from hornbook.recipes.callbacks.full_state import FullState
from hornbook.recipes.callbacks.snapshot_ensemble import SnapshotEnsemble
from hornbook.recipes.callbacks.training_monitor import TrainingMonitor

__all__ = [
    "FullState",
    "SnapshotEnsemble",
    "TrainingMonitor",
]
