"""Feeding data."""

from hornbook.recipes.data.seeded_batches import SeededBatches

__all__ = [
    "SeededBatches",
]
