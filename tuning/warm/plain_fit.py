"""When a training cannot be warm, and `keras.Model.fit` runs it instead."""

import keras

OWN_METHODS = (
    "fit",
    "evaluate",
    "reset_metrics",
    "make_train_function",
    "make_test_function",
)


class NeedsPlainFit(Exception):
    """Raised where a training has to be run by `fit`; the message is the reason."""


def check_model(model: keras.Model) -> None:
    """Checks that a model is trained by its `train_step`, as warm trials need it.

    Args:
        model: A model that `build` has returned.

    Raises:
        NeedsPlainFit: If it is trained in another way.
    """
    kind = type(model)
    for name in OWN_METHODS:
        if getattr(kind, name) is not getattr(keras.Model, name):
            raise NeedsPlainFit(f"the model has a `{name}` of its own")
    if not model.compiled or model.optimizer is None:
        raise NeedsPlainFit("the model is not compiled with an optimizer")
    if model.run_eagerly:
        raise NeedsPlainFit("the model runs eagerly")
    if model.steps_per_execution != 1:
        raise NeedsPlainFit("the model has `steps_per_execution`")
    if keras.distribution.distribution() is not None:
        raise NeedsPlainFit("a distribution is set")
    strategy = getattr(model, "_distribute_strategy", None)
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        raise NeedsPlainFit("the model is distributed")
