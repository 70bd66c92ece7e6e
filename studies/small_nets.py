"""Trains many small Keras nets; to trace them takes longer than to train them."""

import numpy as np


def renew(model, like):
    """Gives a model all that another begins with, the optimizer and random states too.

    Args:
        model: Compiled, and perhaps trained; what was traced of it stays.
        like: Compiled, just built, of the same architecture.

    Returns:
        The model.
    """
    for old, new in zip(_state(model), _state(like), strict=True):
        old.assign(new)
    return model


def in_one_go(model, x, y, batch, epochs, seed):
    """Fits with all passes as one epoch of Keras's; each pass has an order of its own.

    Where the examples don't fill the batches, one may hold the end of a pass and the
    beginning of the next.

    Args:
        model: Compiled.
        x: Inputs.
        y: Labels.
        batch: Examples in a step.
        epochs: Passes.
        seed: For the orders.
    """
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(x)) for _ in range(epochs)])
    model.fit(x[order], y[order], batch, shuffle=False, verbose=0)


def _state(model):
    model.optimizer.build(model.trainable_variables)  # does nothing twice
    layers = [variable for layer in model.layers for variable in layer.variables]
    return layers + model.optimizer.variables
