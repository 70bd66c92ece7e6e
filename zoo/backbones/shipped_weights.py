"""Shipped weights: what each card promises, checked before anything is loaded."""

import json
from pathlib import Path

from hornbook.errors import InputError
from hornbook.files import sha256

HERE = Path(__file__).parents[1]


def weight_ids():
    """The ids of all shipped weights, sorted.

    Example:

    >>> "glyphnet.letters_rgb" in weight_ids()
    True
    """
    return sorted(path.stem for path in (HERE / "cards").glob("*.json"))


def read_card(weights_id):
    """The model card of a set of weights.

    Args:
        weights_id: `architecture.tag`, such as "glyphnet.letters_rgb".

    Returns:
        Dict with the architecture, the data, the command, the accuracy, the
        preprocessing, the licence and the sha256.

    Raises:
        InputError: if there is no such card.
    """
    path = HERE / "cards" / f"{weights_id}.json"
    if weights_id not in weight_ids():
        known = ", ".join(weight_ids())
        raise InputError(
            f"There is no backbone of that name; there are: {known}. "
            f"Received: {weights_id}"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def weights_path(weights_id):
    """Where the weights file stands, after its hash was compared with its card's.

    Raises:
        InputError: if the file is missing, or is not the one the card describes.
    """
    card = read_card(weights_id)
    path = HERE / "weights" / f"{weights_id}.weights.h5"
    if not path.is_file():
        raise InputError(f"The weights file is missing; install Hornbook anew: {path}")
    found = sha256(path)
    if found != card["sha256"]:
        raise InputError(
            "The weights file is damaged or was changed, and is not loaded; install "
            f"Hornbook anew. {path} has sha256 {found}, its card says {card['sha256']}"
        )
    return path


def load_backbone(weights_id, weights=True):
    """Builds a backbone of ours, with its shipped weights.

    `hornbook.zoo.backbones.open_backbone` opens any backbone, and tells more of it.

    Args:
        weights_id: One of `weight_ids()`, such as "glyphnet.letters_rgb" (colour).
        weights: False leaves the weights as initialised, to train from scratch.

    Returns:
        A `keras.Model` from raw pixels `(batch, 32, 32, channels)`, 0 to 255, to
        features `(batch, n)`.

    Raises:
        InputError: if there is no such backbone, or its file is damaged.

    Example:

    >>> load_backbone("glyphnet.letters_rgb").output_shape
    (None, 128)
    """
    from hornbook.zoo.backbones.shipped import build_native

    card = read_card(weights_id)
    path = weights_path(weights_id) if weights else None
    backbone = build_native(card["architecture"], card["input_shape"])
    if path is not None:
        backbone.load_weights(path)
    return backbone
