"""The card of a shared model: what the model is, and the hash of each file."""

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hornbook.errors import InputError
from hornbook.files import sha256
from hornbook.zoo.keras_file import CARD

NEEDED = ("config.json", "metrics.json", "model.keras")
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")  # of a model or a file; never a path


def check_name(name: Any, what: str) -> None:
    """Refuses a name that could lead out of a folder.

    Args:
        name: The name.
        what: What it names, for the message.

    Raises:
        InputError: If the name has other characters than a file name needs.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InputError(
            f"{what} must be letters, digits, dots, dashes and underscores only. "
            f"Received: {name!r}"
        )


def make_card(run: Path, id: str | None = None) -> dict[str, Any]:
    """Makes the card of a finished run.

    Args:
        run: `pathlib.Path` of the run folder.
        id: Name of the model. Defaults to the names of the backbone and the data.

    Returns:
        Dict, with `files`: a dict from names to `sha256` and `bytes`.

    Raises:
        InputError: If the run is not finished, or the name is not allowed.
    """
    if missing := [name for name in NEEDED if not (run / name).is_file()]:
        raise InputError(
            f"Only a finished run can be shared; {', '.join(missing)} is missing. "
            f"Received: {run}"
        )
    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"A JSON file of the run cannot be read ({error}). Received: {run}"
        ) from error
    backbone, data = str(config.get("backbone")), str(config.get("data"))
    if id is None:
        short = re.split(r"[/:\\]", data.rstrip("/\\"))[-1]
        id = re.sub(r"[^\w.-]+", "_", f"{backbone}.{short}").strip("_.-")
    check_name(id, "The name of the model")
    files = sorted(
        each
        for each in run.iterdir()
        if each.is_file() and NAME.fullmatch(each.name) and each.name != CARD
    )
    return {
        "id": id,
        "backbone": backbone,
        "data": data,
        "class_names": config.get("class_names"),
        "test": metrics.get("test"),
        "command": config.get("command"),
        "hornbook": config.get("hornbook", version("hornbook")),
        "licence": _licence(backbone),
        "files": {
            each.name: {"sha256": sha256(each), "bytes": each.stat().st_size}
            for each in files
        },
    }


def _licence(backbone: str) -> str | None:
    from hornbook.zoo.backbones.table import find

    try:
        return f"of the backbone's weights: {find(backbone)['licence']}"
    except InputError:
        return None


def read_card(folder: Any) -> dict[str, Any]:
    """Reads the card in a folder, and checks that it names only files in the folder.

    Args:
        folder: Path-like with `/` and `read_text`, such as an `epath.Path`.

    Raises:
        InputError: If the card is missing, cannot be read or names files elsewhere.
    """
    try:
        card = json.loads((folder / CARD).read_text())
        files = dict(card["files"])
        check_name(card["id"], "The name of the model")
        for name, file in files.items():
            check_name(name, f"A file of {card['id']}")
            if not (isinstance(file["sha256"], str) and file["bytes"] >= 0):
                raise ValueError(f"no hash of {name}")
    except InputError as error:
        raise InputError(f"The card {folder / CARD} cannot be used. {error}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The folder has no readable {CARD} ({type(error).__name__}: {error}). "
            f"Received: {folder}"
        ) from error
    return card
