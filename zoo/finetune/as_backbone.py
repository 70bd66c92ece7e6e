"""A `Backbone` from whatever was given, with one feature vector an example."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
from keras import layers

from hornbook.errors import InputError
from hornbook.zoo.backbones.backbone import Backbone
from hornbook.zoo.backbones.layer_groups import group_by_kernel
from hornbook.zoo.backbones.open_backbone import open_backbone


def as_backbone(given: Any, image_size: int | None = None) -> Backbone:
    """Opens, wraps and pools what `fine_tune` was given.

    Layers that arrive frozen are unfrozen: the strategy says what is trained.

    Args:
        given: An id, a `Backbone` or a built `keras.Model`.
        image_size: Integer. Side of the pictures that a backbone of an id is built for,
            in pixels; None for its own.

    Raises:
        InputError: if it is none of these, or gives no features.
    """
    if isinstance(given, (str, Path)):
        given = open_of_size(str(given), image_size)
    elif image_size is not None:
        raise InputError(
            "image_size is for a backbone that an id names; build yours for it. "
            f"Received: image_size={image_size}"
        )
    if isinstance(given, keras.Model):
        if not given.built or not hasattr(given, "input"):
            raise InputError(
                f"The model must be built and have inputs of a known shape. "
                f"Received: {given!r:.80}"
            )
        given.trainable = True
        given = Backbone(given.name, given, group_by_kernel(given), {})
    if not isinstance(given, Backbone):
        raise InputError(
            f"backbone must be an id, a Backbone or a keras.Model. "
            f"Received: {given!r:.80}"
        )
    given.model.trainable = True
    known = {path for group in given.groups for path in group}
    if any(each.path not in known for each in given.model.trainable_variables):
        given = dataclasses.replace(given, groups=group_by_kernel(given.model))
    axes = len(given.model.output_shape)
    if axes == 2:
        return given
    if not 3 <= axes <= 5:
        raise InputError(
            f"The backbone must give features (batch, ..., features). "
            f"Received: {given.model.output_shape}"
        )
    pool = getattr(layers, f"GlobalAveragePooling{axes - 2}D")(name="pool")
    model = given.model
    pooled = keras.Model(model.inputs, pool(model.output), name=f"{model.name}_pooled")
    return dataclasses.replace(given, model=pooled)


def open_of_size(id: str, image_size: int | None) -> Backbone:
    """Opens a backbone, built for square pictures of a size.

    Args:
        id: As for `open_backbone`.
        image_size: Integer. Side in pixels; None for the backbone's own.

    Raises:
        InputError: if there is no such backbone, or it takes no such pictures.
    """
    backbone = open_backbone(id)
    shape = backbone.model.input_shape
    if image_size is None:
        return backbone
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise InputError(
            f"The backbone takes no pictures. Received: image_size={image_size}"
        )
    if shape[1:3] == (image_size, image_size):
        return backbone
    try:
        return open_backbone(id, input_shape=(image_size, image_size, shape[3]))
    except InputError:
        raise
    except Exception as error:  # each architecture has a smallest size of its own
        raise InputError(
            f"The backbone can't be built for pictures of that size ({error}). "
            f"Received: image_size={image_size}"
        ) from error
