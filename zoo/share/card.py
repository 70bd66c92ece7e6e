"""The card of a shared model: what it is, and the hash of each of its files."""

import json
import re
from importlib.metadata import version

from hornbook.errors import InputError
from hornbook.files import sha256

CARD = "card.json"
NEEDED = ("config.json", "metrics.json", "model.keras")
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")  # of a model or a file: of one folder only


def check_name(name, what):
    """Refuses a name that could lead out of a folder.

    Raises:
        InputError: if it could.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InputError(
            f"{what} must be letters, digits, dots, dashes and underscores alone, as "
            f"it names something in one folder. Received: {name!r}"
        )


def make_card(run, id=None):
    """The card for a finished run.

    Args:
        run: `pathlib.Path` of the run folder.
        id: The model's name; None for the backbone's and the data's.

    Returns:
        Dict, with `files`: a dict from names to `sha256` and `bytes`.

    Raises:
        InputError: if it is no finished run, or the name is not one.
    """
    if missing := [name for name in NEEDED if not (run / name).is_file()]:
        raise InputError(
            f"Only a finished run can be shared; this one lacks {', '.join(missing)}: "
            f"{run}"
        )
    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"The run's JSON can't be read: {run} ({error})") from error
    backbone, data = str(config.get("backbone")), str(config.get("data"))
    if id is None:
        short = re.split(r"[/:\\]", data.rstrip("/\\"))[-1]
        id = re.sub(r"[^\w.-]+", "_", f"{backbone}.{short}").strip("_.-")
    check_name(id, "The model's name")
    files = sorted(
        each
        for each in run.iterdir()
        if each.is_file() and NAME.fullmatch(each.name) and each.name != CARD
    )
    return {
        "id": id,
        "backbone": backbone,
        "data": data,
        "classes": config.get("classes"),
        "test": metrics.get("test"),
        "command": config.get("command"),
        "hornbook": config.get("hornbook", version("hornbook")),
        "licence": _licence(backbone),
        "files": {
            each.name: {"sha256": sha256(each), "bytes": each.stat().st_size}
            for each in files
        },
    }


def _licence(backbone):
    from hornbook.zoo.backbones.table import find

    try:
        return f"of the backbone's weights: {find(backbone)['licence']}"
    except InputError:
        return None


def read_card(folder):
    """The card in a folder, checked to name files of that folder alone.

    Args:
        folder: Path-like with `/` and `read_text`, such as an `epath.Path`.

    Raises:
        InputError: if it is missing, can't be read or names files elsewhere.
    """
    try:
        card = json.loads((folder / CARD).read_text())
        files = dict(card["files"])
        check_name(card["id"], "The model's name")
        for name, file in files.items():
            check_name(name, f"A file of {card['id']}")
            if not (isinstance(file["sha256"], str) and file["bytes"] >= 0):
                raise ValueError(f"no hash of {name}")
    except InputError as error:
        raise InputError(f"The card is refused: {folder / CARD}. {error}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"There is no model with a readable {CARD} in {folder} "
            f"({type(error).__name__}: {error})"
        ) from error
    return card
