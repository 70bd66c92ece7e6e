"""Regularizers."""

from hornbook.recipes.regularizers.elastic_net import ElasticNet
from hornbook.recipes.regularizers.group_lasso import GroupLasso
from hornbook.recipes.regularizers.regularize import regularize
from hornbook.recipes.regularizers.smooth_l1 import SmoothL1

__all__ = [
    "ElasticNet",
    "GroupLasso",
    "SmoothL1",
    "regularize",
]
