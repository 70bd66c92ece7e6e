"""Layers."""

from hornbook.recipes.layers.drop_connect import DropConnect
from hornbook.recipes.layers.lda_projection import LDAProjection
from hornbook.recipes.layers.maxout import Maxout
from hornbook.recipes.layers.maxout_conv2d import MaxoutConv2D
from hornbook.recipes.layers.min_max_scaling import MinMaxScaling
from hornbook.recipes.layers.pca_whitening import PCAWhitening
from hornbook.recipes.layers.zca_whitening import ZCAWhitening

__all__ = [
    "DropConnect",
    "LDAProjection",
    "Maxout",
    "MaxoutConv2D",
    "MinMaxScaling",
    "PCAWhitening",
    "ZCAWhitening",
]
