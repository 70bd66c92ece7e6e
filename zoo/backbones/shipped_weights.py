"""The shipped weights: their cards, and their hashes, checked before loading."""

import json
from pathlib import Path
from typing import Any

from hornbook.errors import InputError
from hornbook.files import sha256

HERE = Path(__file__).parents[1]


def weight_ids() -> list[str]:
    """The ids of all shipped weights, sorted.

    Example:

    >>> "glyphnet.letters_rgb" in weight_ids()
    True
    """
    return sorted(path.stem for path in (HERE / "cards").glob("*.json"))


def read_card(weights_id: str) -> dict[str, Any]:
    """Reads the card of a set of shipped weights.

    Args:
        weights_id: `architecture.tag`, such as "glyphnet.letters_rgb".

    Returns:
        Dict with the architecture, the data, the command, the accuracy, the
        preprocessing, the licence and the sha256.

    Raises:
        InputError: If there is no such card.
    """
    path = HERE / "cards" / f"{weights_id}.json"
    if weights_id not in weight_ids():
        known = ", ".join(weight_ids())
        raise InputError(
            f"No shipped weights have this id; there are {known}. "
            f"Received: {weights_id}"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def weights_path(weights_id: str) -> Path:
    """Path of a shipped weights file, whose hash was compared with the card's.

    Raises:
        InputError: If the file is missing, or is not the one on the card.
    """
    card = read_card(weights_id)
    path = HERE / "weights" / f"{weights_id}.weights.h5"
    if not path.is_file():
        raise InputError(
            f"The weights file is missing; reinstall Hornbook. Received: {path}"
        )
    found = sha256(path)
    if found != card["sha256"]:
        raise InputError(
            "The weights file is damaged or was changed, and is not loaded; reinstall "
            f"Hornbook. Its sha256 is {found}, the card says {card['sha256']}. "
            f"Received: {path}"
        )
    return path
