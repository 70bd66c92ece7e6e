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


def as_backbone(given: Any) -> Backbone:
    """Opens, wraps and pools what `fine_tune` was given.

    Layers that arrive frozen are unfrozen: the strategy says what is trained.

    Args:
        given: An id, a `Backbone` or a built `keras.Model`.

    Raises:
        InputError: if it is none of these, or gives no features.
    """
    if isinstance(given, (str, Path)):
        given = open_backbone(str(given))
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
