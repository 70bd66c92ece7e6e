"""A backbone from a `.keras` file: what the model has up to its head."""

from pathlib import Path

import keras
from keras import layers

from hornbook.compat import all_layers, producer
from hornbook.errors import InputError
from hornbook.zoo.backbones.backbone import Backbone, describe
from hornbook.zoo.backbones.layer_groups import group_by_kernel
from hornbook.zoo.keras_file import load_keras_file

# What a head is made of, beside a model named "head".
HEAD = (layers.Dense, layers.Dropout, layers.Activation, layers.Softmax)


def open_file(path, input_shape=None, weights="default", safe_mode=True):
    """Opens a `.keras` file, or the `model.keras` of a folder, as a backbone.

    The layers of the head at its end are left out: dense ones, dropout, a softmax, a
    model named "head". A fine-tuned model of ours is first taken out of what shrinks
    its pictures and votes. A model without a head is taken as it is.

    Args:
        path: Of a file or a folder.
        input_shape: None, or what the model has: it is not built anew.
        weights: "default" (the file's), None (random) or the path of a weights file of
            the same layers.
        safe_mode: Whether to refuse a file that carries code.

    Returns:
        A `Backbone`.

    Raises:
        InputError: if the file can't be opened, or gives no features.
    """
    file = Path(path)
    file = file / "model.keras" if file.is_dir() else file
    if not file.is_file():
        raise InputError(f"The folder has no model.keras: {path}")
    model = cut_head(load_keras_file(file, safe_mode))
    if input_shape is not None and tuple(input_shape) != model.input_shape[1:]:
        raise InputError(
            f"The model in {path} takes {model.input_shape[1:]}; it is not built anew. "
            f"Received: input_shape={tuple(input_shape)}"
        )
    if weights is None:
        model = keras.models.clone_model(model)
    elif weights != "default":
        from hornbook.zoo.backbones.weights_file import load_own_weights

        load_own_weights(model, weights)
    groups = group_by_kernel(model)
    card = {
        "id": str(path),
        "family": model.name,
        "preprocessing": "as in the model",
        "weights": str(file) if weights == "default" else weights,
        "licence": None,
        "paper": None,
        **describe(model, groups),
    }
    return Backbone(str(path), model, groups, card)


def cut_head(model):
    """The part of a functional model up to its head, with its output as a vector.

    Args:
        model: A `keras.Model` made of layers one after another, or a `Sequential`.

    Returns:
        A `keras.Model` from the same inputs to features `(batch, n)`.

    Raises:
        InputError: if nothing is left, or it is not a functional model.

    Example:

    >>> inputs = keras.Input((8, 8, 3))
    >>> x = layers.Conv2D(4, 3)(inputs)
    >>> y = layers.Dense(2)(layers.GlobalAveragePooling2D()(x))
    >>> cut_head(keras.Model(inputs, y)).output_shape
    (None, 4)
    """
    inner = [each for each in all_layers(model) if each.name == "classifier"]
    model = inner[0] if inner and isinstance(inner[0], keras.Model) else model
    try:
        inputs, [output] = model.inputs, model.outputs
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"Only functional and sequential models of one output can be cut at their "
            f"head. Received: {type(model).__name__}"
        ) from error
    while not any(output is each for each in inputs):
        operation, came_from = producer(output)
        if not isinstance(operation, HEAD) and operation.name != "head":
            break
        output = came_from[0]
    if any(output is each for each in inputs):
        raise InputError(f"The model is nothing but a head: {model.name}")
    if len(output.shape) == 4:
        output = layers.GlobalAveragePooling2D(name="pool")(output)
    if len(output.shape) != 2:
        raise InputError(
            f"The model gives no features (batch, n) but {output.shape}: {model.name}"
        )
    return keras.Model(inputs, output, name=model.name)
