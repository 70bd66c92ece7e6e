"""Finding out what is wrong with a model or a run, and what to do about it."""

from hornbook.recipes.diagnosis.layer_probe import LayerProbe
from hornbook.recipes.diagnosis.select_model import ModelSelection, select_model
from hornbook.recipes.diagnosis.verdict import CurveReport, verdict

__all__ = [
    "CurveReport",
    "LayerProbe",
    "ModelSelection",
    "select_model",
    "verdict",
]
