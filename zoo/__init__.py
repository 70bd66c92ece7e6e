"""Backbones with weights, data sets, and fine-tuning."""

import importlib

EXPORTS = {"fine_tune": "hornbook.zoo.finetune.fine_tune"}
__all__ = ["fine_tune"]


def __getattr__(name):
    """Imports what is heavy when it is first asked for."""
    if name in EXPORTS:
        return getattr(importlib.import_module(EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
