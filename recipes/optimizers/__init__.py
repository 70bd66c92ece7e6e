"""Optimizers and learning rates."""

from hornbook.recipes.optimizers.find_learning_rate import find_learning_rate
from hornbook.recipes.optimizers.fit_lbfgs import fit_lbfgs
from hornbook.recipes.optimizers.layer_decay import layer_decay
from hornbook.recipes.optimizers.layerwise_learning_rate import LayerwiseLearningRate
from hornbook.recipes.optimizers.one_cycle import OneCycle
from hornbook.recipes.optimizers.warm_up import WarmUp
from hornbook.recipes.optimizers.weight_decay_mask import weight_decay_mask

__all__ = [
    "LayerwiseLearningRate",
    "OneCycle",
    "WarmUp",
    "find_learning_rate",
    "fit_lbfgs",
    "layer_decay",
    "weight_decay_mask",
]
