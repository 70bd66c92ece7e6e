"""Backbones with weights, data sets, and fine-tuning.

Importing this package imports nothing heavy; each name is imported when it is first
asked for.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hornbook.zoo.backbones.backbone import Backbone
    from hornbook.zoo.backbones.open_backbone import open_backbone
    from hornbook.zoo.backbones.table import list_backbones
    from hornbook.zoo.finetune.feature_cache import FeatureCache
    from hornbook.zoo.finetune.fine_tune import Settings, fine_tune
    from hornbook.zoo.finetune.fine_tuned import FineTuned

__all__ = [
    "Backbone",
    "FeatureCache",
    "FineTuned",
    "Settings",
    "fine_tune",
    "list_backbones",
    "open_backbone",
]

_HOMES = {
    "Backbone": "hornbook.zoo.backbones",
    "FeatureCache": "hornbook.zoo.finetune.feature_cache",
    "FineTuned": "hornbook.zoo.finetune.fine_tuned",
    "Settings": "hornbook.zoo.finetune.fine_tune",
    "fine_tune": "hornbook.zoo.finetune.fine_tune",
    "list_backbones": "hornbook.zoo.backbones.table",
    "open_backbone": "hornbook.zoo.backbones",
}


def __getattr__(name: str):
    """Imports what is heavy when it is first asked for."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What there is, also of what is not imported yet."""
    return sorted({*globals(), *__all__})
