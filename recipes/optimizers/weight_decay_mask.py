# SPDX-License-Identifier: Apache-2.0
"""weight_decay_mask: what decoupled weight decay should leave alone.

What:    lists a model's biases, the scales and shifts of its normalization layers, and
         PReLU's slopes.
When:    `AdamW` and any other Keras optimizer with a `weight_decay`.
Not for: penalties in the loss: there, choose weights with `regularize`.
Source:  Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019;
         He et al., "Bag of Tricks for Image Classification with Convolutional Neural
         Networks", CVPR 2019 (biases and norms); He et al., "Delving Deep into
         Rectifiers", ICCV 2015 (PReLU).
Needs:   keras>=3.
"""

import keras

NAMES = ("bias", "gamma", "beta", "scale", "alpha")


def weight_decay_mask(model: keras.Layer) -> list[keras.Variable]:
    """Lists the trainable variables to leave out of weight decay.

    These are all with fewer than two axes, and those whose name ends in `bias`,
    `gamma`, `beta`, `scale` or `alpha`, since some have more: the biases of attention
    and `GRU`, normalization over several axes, `PReLU`. Kernels and embeddings decay.

    Pass the list to the optimizer before `fit`, whose compiled step does not notice
    later changes:

        optimizer.exclude_from_weight_decay(var_list=weight_decay_mask(model))

    How Keras (3.15) treats it:

    - Each call of `exclude_from_weight_decay` replaces the one before.
    - `LossScaleOptimizer` does not pass it on. Call it on the inner optimizer, as
      you do when `compile` makes the wrapper for you.
    - It is not saved. The optimizer of a model loaded from a `.keras` file decays
      everything, without a warning, until it is called again.

    Args:
        model: A built `keras.Model` or layer.

    Returns:
        A list of variables.

    Raises:
        ValueError: If the model has no trainable variables, because it is not built
            or is frozen.

    Example:
    >>> import keras
    >>> layers = [keras.layers.Dense(4), keras.layers.BatchNormalization()]
    >>> model = keras.Sequential([keras.Input((8,)), *layers])
    >>> [variable.name for variable in weight_decay_mask(model)]
    ['bias', 'gamma', 'beta']
    >>> optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.05)
    >>> optimizer.exclude_from_weight_decay(var_list=weight_decay_mask(model))
    >>> model.compile(optimizer, "mse")
    """
    if not model.trainable_variables:
        raise ValueError(
            "The model has no trainable variables: build it, or unfreeze a layer. "
            f"Received: model={model}"
        )
    return [
        variable
        for variable in model.trainable_variables
        if len(variable.shape) < 2 or variable.name.endswith(NAMES)
    ]
