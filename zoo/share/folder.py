"""A zoo folder: fine-tuned models with their cards, on a disk or in a bucket.

Each model is a folder of the zoo's. Its card is written last and names the hash of
every file, so a model without a card is not there, and a damaged one is found out.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from hornbook.errors import InputError
from hornbook.files import write_json
from hornbook.zoo.keras_file import check_keras_file
from hornbook.zoo.share.card import CARD, check_name, make_card, read_card

CHUNK = 1 << 20


def open_folder(place):
    """A path to a folder on a disk, or in a bucket: "gs://..." or "s3://...".

    A program that used TFDS before has to set EPATH_USE_TF=false itself, at its start.

    Raises:
        InputError: if the package that reaches the bucket is not installed.
    """
    # TensorFlow, where it is installed, would be taken to reach buckets: it takes
    # seconds to import, and knows no s3://.
    os.environ.setdefault("EPATH_USE_TF", "false")
    from etils import epath

    try:
        folder = epath.Path(place)
        folder.exists()
    except Exception as error:  # whatever the bucket's package raises
        raise InputError(
            f"The folder can't be reached: {place} ({type(error).__name__}: {error}). "
            "Buckets need a package, gcsfs for gs://, s3fs for s3://, and your login."
        ) from error
    return folder


def add(run, place, id=None, safe_mode=True):
    """Puts a finished run into a zoo folder, with its card and its evidence.

    Adding the same run again changes nothing.

    Args:
        run: Path of the run folder.
        place: Path or URL of the zoo folder; made if it is not there.
        id: The model's name there; None for the backbone's and the data's.
        safe_mode: Whether to refuse a model file that carries code.

    Returns:
        The card.

    Raises:
        InputError: if it is no finished run, its model carries code, or the name is
            taken by something else.
    """
    run = Path(run)
    card = make_card(run, id)
    check_keras_file(run / "model.keras", safe_mode)
    model = open_folder(place) / card["id"]
    if (model / CARD).exists():
        there = read_card(model)
        if there["files"] != card["files"]:
            raise InputError(
                f"The zoo has another model of that name, which is not overwritten; "
                f"choose another --id. Received: {model}"
            )
        if not (wrong := _wrong_files(model, there)):
            return there
        raise InputError(
            f"The model in the zoo is damaged, and is not overwritten; remove it to "
            f"add it again: {model}. {wrong[0]}"
        )
    model.mkdir(parents=True, exist_ok=True)
    for name, file in card["files"].items():
        found = _copy(run / name, model / name)
        if found != file["sha256"]:
            raise InputError(f"The run changed while it was copied: {run / name}")
    _write_last(model, card)
    return card


def _write_last(model, card):
    """Writes the card so that it is there whole, or not at all."""
    if "://" not in os.fspath(model):
        write_json(os.fspath(model / CARD), card)
        return
    import json

    # An object in a bucket appears once it is written.
    (model / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def pull(id, place, to=None, safe_mode=True):
    """Fetches a model from a zoo folder; nothing of it is there until all is right.

    Args:
        id: The model's name.
        place: Path or URL of the zoo folder.
        to: Path of the folder to make; None for one of the model's name, here. It can
            be used as a run folder.
        safe_mode: Whether to refuse a model file that carries code.

    Returns:
        The `pathlib.Path` of the folder.

    Raises:
        InputError: if there is no such model, a file is not the one of its card, the
            model carries code, or the folder holds something else.
    """
    check_name(id, "The model's name")
    model = open_folder(place) / id
    card = read_card(model)
    to = Path(to or id)
    if to.exists():
        there = to.is_dir() and (to / CARD).is_file() and read_card(to)
        if not there or there["files"] != card["files"] or _wrong_files(to, there):
            raise InputError(
                f"The folder holds something else, which is not overwritten; choose "
                f"another --to. Received: {to}"
            )
        return to
    to.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".new-{id}-", dir=to.parent))
    try:
        for name, file in card["files"].items():
            if not (model / name).exists():
                raise InputError(f"The zoo lacks a file of the model: {model / name}")
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


def verify(place):
    """Checks every file of every model in a zoo folder against its card.

    Args:
        place: Path or URL of a zoo folder, or of one model in it.

    Returns:
        Dict from the name of each model to a list of what is wrong, as sentences.

    Raises:
        InputError: if there is no such folder, or no model in it.
    """
    folder = open_folder(place)
    if not folder.is_dir():
        raise InputError(f"There is no such folder: {place}")
    models = [folder]
    if not (folder / CARD).exists():
        models = sorted(
            each
            for each in folder.iterdir()
            if each.is_dir() and not each.name.startswith(".")
        )
    if not models:
        raise InputError(f"There is no model in the folder: {place}")
    return {each.name: _problems(each) for each in models}


def _problems(model):
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


def _wrong_files(model, card):
    """What differs from the card, as sentences."""
    wrong = []
    for name, file in card["files"].items():
        path = model / name
        if not path.exists():
            wrong.append(f"{path} is missing")
        elif (found := _hash(path)) != file["sha256"]:
            wrong.append(_differs(path, found, file["sha256"]))
    return wrong


def _differs(path, found, promised):
    return (
        f"{path} is damaged or was changed: it has sha256 {found}, the card says "
        f"{promised}"
    )


def _hash(path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _copy(source, target):
    """Copies a file, and gives the hash of what was read."""
    digest = hashlib.sha256()
    with source.open("rb") as old, target.open("wb") as new:
        while chunk := old.read(CHUNK):
            digest.update(chunk)
            new.write(chunk)
    return digest.hexdigest()
