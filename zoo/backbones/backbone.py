"""What a backbone is, wherever it comes from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from hornbook.compat import all_layers

# Where a family has no better values of its own.
FINE_TUNING = {"learning_rate": 1e-3, "batchnorm": "frozen"}


@dataclass
class Backbone:
    """A model to put a head on, and what is known about it.

    Attributes:
        id: What `open_backbone` opens it by, such as "keras/mobilenet_v2".
        model: `keras.Model` from raw pixels `(batch, height, width, channels)`, 0 to
            255, uint8 or float, to features `(batch, n)`. Preprocessing and pooling are
            inside. A text backbone takes what its card's `input_shape` says.
        groups: Paths of the trainable variables, block by block from the input to the
            output. Each variable is in exactly one group.
        card: Dict with the entries of `describe`, and where known `family`, `weights`,
            `licence`, `paper`, `preprocessing`.
        preprocess: For text: function from a list of strings to what the model takes.
            `None` for images.
    """

    id: str
    model: keras.Model
    groups: list[list[str]]
    card: dict[str, Any]
    preprocess: Callable | None = None


def describe(
    model: keras.Model,
    groups: list[list[str]],
    fine_tuning: Mapping[str, Any] = FINE_TUNING,
) -> dict[str, Any]:
    """The part of a card that can be read off the model.

    Args:
        model: A `keras.Model` from an input to features `(batch, n)`.
        groups: As in a `Backbone`.
        fine_tuning: Defaults of fine-tuning that suit the backbone better than those
            of `FINE_TUNING`.

    Returns:
        Dict with `parameters`, `input_shape`, `features`, `has_batchnorm`, `groups`
        (their number), `head` (where it goes) and `fine_tuning`: a dict with
        `learning_rate`, `batchnorm` ("update" or "frozen") and `image_size`, the height
        in pixels of the images that the model takes, `None` for text and for models
        that take any size.

    Example:

    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    >>> describe(model, [])["fine_tuning"]
    {'learning_rate': 0.001, 'batchnorm': 'frozen', 'image_size': 8}
    """
    features = model.output_shape[-1]
    return {
        "parameters": model.count_params(),
        "input_shape": list(model.input_shape[1:]),
        "features": features,
        "has_batchnorm": bool(batchnorms(model)),
        "groups": len(groups),
        "head": f"on the model's output, (batch, {features})",
        "fine_tuning": {
            **FINE_TUNING,
            **fine_tuning,
            "image_size": _image_size(model),
        },
    }


def _image_size(model: keras.Model) -> int | None:
    is_image = len(model.inputs) == 1 and len(model.inputs[0].shape) == 4
    return model.inputs[0].shape[1] if is_image else None


def batchnorms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """All `BatchNormalization` layers of a model, through nested models."""
    kind = keras.layers.BatchNormalization
    return [each for each in all_layers(model) if isinstance(each, kind)]
