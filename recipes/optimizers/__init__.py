"""Optimizers and learning rates."""

from hornbook.recipes.optimizers.layer_decay import layer_decay
from hornbook.recipes.optimizers.layerwise_learning_rate import LayerwiseLearningRate
from hornbook.recipes.optimizers.weight_decay_mask import weight_decay_mask

__all__ = [
    "LayerwiseLearningRate",
    "layer_decay",
    "weight_decay_mask",
]
