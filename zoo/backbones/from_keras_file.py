"""A backbone from a `.keras` file: the model up to its head."""

import os
from pathlib import Path

import keras
from keras import layers

from hornbook.compat import all_layers, producer
from hornbook.errors import InputError
from hornbook.zoo.backbones.backbone import Backbone, describe
from hornbook.zoo.backbones.layer_groups import group_by_kernel
from hornbook.zoo.keras_file import load_keras_file

# Layers of a head, beside a model named "head".
HEAD = (layers.Dense, layers.Dropout, layers.Activation, layers.Softmax)


def open_file(
    path: str | os.PathLike,
    input_shape: tuple[int, int, int] | None = None,
    weights: str | os.PathLike | None = "default",
    safe_mode: bool = True,
) -> Backbone:
    """Opens a `.keras` file, or the `model.keras` of a folder, as a backbone.

    The head at the end is removed: dense layers, dropout, a softmax, a model named
    "head". Of a fine-tuned model of ours, the layers that resize images and average
    over views are removed too. A model without a head is kept as it is.

    Args:
        path: Path of a file or a folder.
        input_shape: `None`, or the shape that the model has: it cannot be changed.
        weights: "default" (the weights in the file), `None` (random weights) or the
            path of a weights file for the same layers.
        safe_mode: Whether to refuse a file that carries code.

    Returns:
        A `Backbone`.

    Raises:
        InputError: If the file cannot be opened, or the model outputs no features.
    """
    file = Path(path)
    file = file / "model.keras" if file.is_dir() else file
    if not file.is_file():
        raise InputError(f"The folder has no model.keras. Received: {path}")
    model = cut_head(load_keras_file(file, safe_mode))
    if input_shape is not None and tuple(input_shape) != model.input_shape[1:]:
        raise InputError(
            f"The model in {path} takes {model.input_shape[1:]}, which cannot be "
            f"changed. Received: input_shape={tuple(input_shape)}"
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


def cut_head(model: keras.Model) -> keras.Model:
    """The part of a functional model before its head, with a vector as output.

    Args:
        model: A functional or sequential `keras.Model` with one output.

    Returns:
        A `keras.Model` from the same inputs to features `(batch, n)`.

    Raises:
        InputError: If nothing is left, or the model is not functional.

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
            "Only a functional or sequential model with one output can be cut before "
            f"its head. Received: {type(model).__name__}"
        ) from error
    while not any(output is each for each in inputs):
        operation, came_from = producer(output)
        if not isinstance(operation, HEAD) and operation.name != "head":
            break
        output = came_from[0]
    if any(output is each for each in inputs):
        raise InputError(
            f"The model has no layers before its head. Received: {model.name}"
        )
    if len(output.shape) == 4:
        output = layers.GlobalAveragePooling2D(name="pool")(output)
    if len(output.shape) != 2:
        raise InputError(
            "The output before the head must have the shape (batch, n). Received: "
            f"{output.shape} of {model.name}"
        )
    return keras.Model(inputs, output, name=model.name)
