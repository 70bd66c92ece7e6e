"""Makes a Keras net new that is traced already: to trace takes longer than to train."""


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


def _state(model):
    model.optimizer.build(model.trainable_variables)  # does nothing twice
    layers = [variable for layer in model.layers for variable in layer.variables]
    return layers + model.optimizer.variables
