"""Feeding data, and handling a shift between training and test data."""

from hornbook.recipes.data.covariate_shift_weights import (
    CovariateShift,
    covariate_shift_weights,
)
from hornbook.recipes.data.detect_shift import ShiftReport, detect_shift
from hornbook.recipes.data.label_shift_weights import LabelShift, label_shift_weights
from hornbook.recipes.data.seeded_batches import SeededBatches

__all__ = [
    "CovariateShift",
    "LabelShift",
    "SeededBatches",
    "ShiftReport",
    "covariate_shift_weights",
    "detect_shift",
    "label_shift_weights",
]
