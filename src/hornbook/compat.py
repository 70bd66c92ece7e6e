"""Keras's private attributes that the zoo and the tuner use: one function each.

Keras offers no public way to any of these. If a release moves one, this file is what
has to change. It imports nothing, so that whoever uses it decides about Keras.
"""


def all_layers(model) -> list:
    """The model and every layer in it, through nested models and wrappers.

    `model.layers` names the outermost layers alone.

    Args:
        model: A `keras.Model` or `keras.Layer`.

    Returns:
        List of `keras.Layer`, the model first.

    Example:

    >>> import keras
    >>> inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="a")])
    >>> model = keras.Sequential([inner, keras.layers.ReLU(name="b")])
    >>> [layer.name for layer in all_layers(model) if layer.name in "ab"]
    ['a', 'b']
    """
    return list(model._flatten_layers())


def producer(tensor) -> tuple:
    """The operation that made a symbolic tensor, and that call's inputs.

    Args:
        tensor: A `keras.KerasTensor` of a functional model.

    Returns:
        Tuple `(operation, inputs)`: a `keras.Operation`, such as a layer, and the list
        of tensors that it was called with. An `Input`'s list is empty.

    Example:

    >>> import keras
    >>> x = keras.Input((2,))
    >>> operation, inputs = producer(keras.layers.Dense(1, name="dense")(x))
    >>> operation.name, inputs[0] is x
    ('dense', True)
    """
    operation, node, _ = tensor._keras_history
    return operation, operation._inbound_nodes[node].input_tensors


def has_weight_decay(optimizer, variable) -> bool:
    """Whether an optimizer that decays weights decays this one.

    Args:
        optimizer: A `keras.optimizers.Optimizer`.
        variable: A `keras.Variable` that it trains.

    Returns:
        Boolean: False for what `exclude_from_weight_decay` names.

    Example:

    >>> import keras
    >>> optimizer = keras.optimizers.AdamW()
    >>> optimizer.exclude_from_weight_decay(var_names=["bias"])
    >>> has_weight_decay(optimizer, keras.Variable([0.0], name="bias"))
    False
    """
    return bool(optimizer._use_weight_decay(variable))


def is_default(method) -> bool:
    """Whether a method of a callback is the empty one that it inherits from Keras.

    Keras marks the methods that do nothing, and skips them at each batch.

    Args:
        method: A bound method of a `keras.callbacks.Callback`, such as
            `callback.on_train_batch_end`.

    Example:

    >>> import keras
    >>> is_default(keras.callbacks.EarlyStopping().on_train_batch_end)
    True
    """
    return getattr(method, "_is_default", False)


def build_from_batch(model, batch) -> None:
    """Builds a compiled model and its metrics without computing anything.

    Args:
        model: A compiled `keras.Model`.
        batch: Tuple `(x, y)` or `(x, y, sample_weight)` of arrays, one batch of data.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> build_from_batch(model, (np.zeros((4, 2)), np.zeros((4, 1))))
    >>> model.built
    True
    """
    model._symbolic_build(data_batch=batch)


def epoch_of_backup(model) -> int:
    """The epoch at which `fit` goes on after a `BackupAndRestore`, else 0.

    Args:
        model: A `keras.Model`, in a `fit` whose `on_train_begin` was called.

    Example:

    >>> import keras
    >>> epoch_of_backup(keras.Sequential([keras.layers.Dense(1)]))
    0
    """
    return model._initial_epoch or 0


def set_path(variable, path: str) -> None:
    """Gives a variable another path, by which optimizers and saved states find it.

    Args:
        variable: A `keras.Variable`.
        path: String, such as "dense/kernel".

    Example:

    >>> import keras
    >>> variable = keras.Variable([0.0], name="kernel")
    >>> set_path(variable, "dense/kernel")
    >>> variable.path
    'dense/kernel'
    """
    variable._path = path


def set_op_determinism(on: bool) -> bool:
    """Switches TensorFlow's deterministic ops on or off; what they were before.

    Publicly they can be switched on only.

    Args:
        on: Boolean.
    """
    from tensorflow.python.framework import config

    before = bool(config.is_op_determinism_enabled())
    if on:
        config.enable_op_determinism()
    else:
        config.disable_op_determinism()
    return before
