"""What a backbone is, wherever it comes from."""

from collections.abc import Callable
from dataclasses import dataclass

import keras

from hornbook.compat import all_layers


@dataclass
class Backbone:
    """A model to put a head on, and what is known of it.

    Attributes:
        id: What `open_backbone` opens it by, such as "keras/mobilenet_v2".
        model: `keras.Model` from raw pixels `(batch, height, width, channels)`, 0 to
            255, uint8 or float, to features `(batch, n)`. Preprocessing and pooling are
            inside. One for text takes what its card's `input` says.
        groups: Paths of the trainable variables, block by block from the input to the
            output. Each variable is in one of them.
        card: Dict with what `describe` gives, and where known `family`, `weights`,
            `licence`, `paper`, `preprocessing`.
        preprocess: For text: function from a list of strings to what the model takes.
            None for pictures.
    """

    id: str
    model: keras.Model
    groups: list[list[str]]
    card: dict
    preprocess: Callable | None = None


def describe(model, groups):
    """The part of a card that can be read off the model.

    Args:
        model: A `keras.Model` from an input to features `(batch, n)`.
        groups: As in a `Backbone`.

    Returns:
        Dict with `parameters`, `input_shape`, `features`, `has_batchnorm`, `groups`
        (their number) and `head` (where it goes).
    """
    features = model.output_shape[-1]
    return {
        "parameters": model.count_params(),
        "input_shape": list(model.input_shape[1:]),
        "features": features,
        "has_batchnorm": bool(batchnorms(model)),
        "groups": len(groups),
        "head": f"on the model's output, (batch, {features})",
    }


def batchnorms(model):
    """All `BatchNormalization` layers of a model, through nested ones."""
    kind = keras.layers.BatchNormalization
    return [each for each in all_layers(model) if isinstance(each, kind)]
