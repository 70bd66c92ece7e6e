"""A zoo folder: fine-tuned models with their cards, on a disk or in a bucket.

Each model is a folder in the zoo folder. Its card holds the hash of every file, so
damage is detected, and is written last, so a model without a card is incomplete.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hornbook.errors import InputError
from hornbook.files import write_json
from hornbook.zoo.keras_file import check_keras_file
from hornbook.zoo.share.card import CARD, check_name, make_card, read_card

CHUNK = 1 << 20


def open_folder(place: str | os.PathLike) -> Any:
    """A path to a folder on a disk or in a bucket.

    A program that used TFDS before must set EPATH_USE_TF=false itself when it starts.

    Args:
        place: Path, or URL of a bucket: "gs://..." or "s3://...".

    Returns:
        An `epath.Path`.

    Raises:
        InputError: If the folder cannot be reached, for example because the package for
            the bucket is not installed.
    """
    # Otherwise buckets are reached through TensorFlow, if it is installed: it takes
    # seconds to import, and does not know s3://.
    os.environ.setdefault("EPATH_USE_TF", "false")
    from etils import epath

    try:
        folder = epath.Path(place)
        folder.exists()
    except Exception as error:  # each package for buckets has its own
        raise InputError(
            f"The folder cannot be reached ({type(error).__name__}: {error}). Buckets "
            "need a package, gcsfs for gs:// or s3fs for s3://, and your login. "
            f"Received: {place}"
        ) from error
    return folder


def add(
    run: str | os.PathLike,
    place: str | os.PathLike,
    id: str | None = None,
    safe_mode: bool = True,
) -> dict[str, Any]:
    """Copies a finished run into a zoo folder, with a card.

    Adding the same run again changes nothing.

    Args:
        run: Path of the run folder.
        place: Path or URL of the zoo folder, which is created if needed.
        id: Name of the model there. Defaults to the names of the backbone and the data.
        safe_mode: Whether to refuse a model file that carries code.

    Returns:
        The card.

    Raises:
        InputError: If the run is not finished, its model carries code, or another
            model has the name.
    """
    run = Path(run)
    card = make_card(run, id)
    check_keras_file(run / "model.keras", safe_mode)
    model = open_folder(place) / card["id"]
    if (model / CARD).exists():
        there = read_card(model)
        if there["files"] != card["files"]:
            raise InputError(
                "Another model has this name, and is not overwritten; choose another "
                f"--id. Received: {model}"
            )
        if not (wrong := _wrong_files(model, there)):
            return there
        raise InputError(
            f"The model in the zoo is damaged, and is not overwritten: {wrong[0]}. "
            f"Remove it to add it again. Received: {model}"
        )
    model.mkdir(parents=True, exist_ok=True)
    for name, file in card["files"].items():
        found = _copy(run / name, model / name)
        if found != file["sha256"]:
            raise InputError(
                f"The run changed while it was copied. Received: {run / name}"
            )
    _write_last(model, card)
    return card


def _write_last(model: Any, card: dict[str, Any]) -> None:
    """Writes the card completely or not at all."""
    if "://" not in os.fspath(model):
        write_json(os.fspath(model / CARD), card)
        return
    import json

    # An object in a bucket appears when it is complete.
    (model / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def pull(
    id: str,
    place: str | os.PathLike,
    to: str | os.PathLike | None = None,
    safe_mode: bool = True,
) -> Path:
    """Copies a model from a zoo folder, after checking every file.

    Args:
        id: Name of the model.
        place: Path or URL of the zoo folder.
        to: Path of the new folder, which can be used as a run folder. Defaults to the
            name of the model.
        safe_mode: Whether to refuse a model file that carries code.

    Returns:
        The `pathlib.Path` of the folder.

    Raises:
        InputError: If there is no such model, a file differs from its card, the model
            carries code, or the new folder holds something else.
    """
    check_name(id, "The name of the model")
    model = open_folder(place) / id
    card = read_card(model)
    to = Path(to or id)
    if to.exists():
        there = to.is_dir() and (to / CARD).is_file() and read_card(to)
        if not there or there["files"] != card["files"] or _wrong_files(to, there):
            raise InputError(
                "The folder holds something else, which is not overwritten; choose "
                f"another --to. Received: {to}"
            )
        return to
    to.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".new-{id}-", dir=to.parent))
    try:
        for name, file in card["files"].items():
            if not (model / name).exists():
                raise InputError(
                    f"A file of the model is missing. Received: {model / name}"
                )
            if (found := _copy(model / name, new / name)) != file["sha256"]:
                raise InputError(_differs(model / name, found, file["sha256"]))
        if "model.keras" in card["files"]:
            check_keras_file(new / "model.keras", safe_mode)
        write_json(new / CARD, card)
        new.chmod(0o755)
        os.rename(new, to)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return to


def verify(place: str | os.PathLike) -> dict[str, list[str]]:
    """Checks every file of every model in a zoo folder against its card.

    Args:
        place: Path or URL of a zoo folder, or of one model in it.

    Returns:
        Dict from the name of each model to a list of problems, as sentences.

    Raises:
        InputError: If there is no such folder, or no model in it.
    """
    folder = open_folder(place)
    if not folder.is_dir():
        raise InputError(f"The folder does not exist. Received: {place}")
    models = [folder]
    if not (folder / CARD).exists():
        models = sorted(
            each
            for each in folder.iterdir()
            if each.is_dir() and not each.name.startswith(".")
        )
    if not models:
        raise InputError(f"The folder holds no model. Received: {place}")
    return {each.name: _problems(each) for each in models}


def _problems(model: Any) -> list[str]:
    try:
        card = read_card(model)
    except InputError as error:
        return [str(error)]
    known = {*card["files"], CARD}
    extra = sorted({each.name for each in model.iterdir()} - known)
    return [
        *_wrong_files(model, card),
        *(f"{model / name} is not on the card" for name in extra),
    ]


def _wrong_files(model: Any, card: dict[str, Any]) -> list[str]:
    """Differences from the card, as sentences."""
    wrong = []
    for name, file in card["files"].items():
        path = model / name
        if not path.exists():
            wrong.append(f"{path} is missing")
        elif (found := _hash(path)) != file["sha256"]:
            wrong.append(_differs(path, found, file["sha256"]))
    return wrong


def _differs(path: Any, found: str, promised: str) -> str:
    return (
        f"{path} is damaged or was changed: its sha256 is {found}, the card says "
        f"{promised}"
    )


def _hash(path: Any) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _copy(source: Any, target: Any) -> str:
    """Copies a file, and returns the hash of what was read."""
    digest = hashlib.sha256()
    with source.open("rb") as old, target.open("wb") as new:
        while chunk := old.read(CHUNK):
            digest.update(chunk)
            new.write(chunk)
    return digest.hexdigest()
