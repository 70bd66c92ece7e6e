"""Initializers."""

from hornbook.recipes.initializers.kaiming import Kaiming
from hornbook.recipes.initializers.lsuv import lsuv
from hornbook.recipes.initializers.xavier import Xavier

__all__ = [
    "Kaiming",
    "Xavier",
    "lsuv",
]
