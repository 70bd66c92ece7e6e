"""The project folder of a search: it survives a kill, and has one writer."""

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import keras_tuner

from hornbook.errors import InputError
from hornbook.files import write_json

FORMAT = 2  # Of the files in the folder.

Folder = str | os.PathLike[str]


@contextlib.contextmanager
def locked(folder: Folder) -> Iterator[None]:
    """Holds the lock of a project folder, a file beside it.

    The system releases it when the process ends, even if it is killed.

    Args:
        folder: Path of the project folder.

    Raises:
        InputError: If another search holds the lock.
    """
    folder = Path(folder)
    path = folder.with_name(f"{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        if not _try_lock(file):
            file.seek(0)
            raise InputError(
                f"Another search writes to this folder, {file.read().strip()}. Wait "
                "for it, end it, or choose another `project_name`. "
                f"Received: project folder {folder}"
            )
        file.truncate(0)
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {now}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _try_lock(file: IO[str]) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            # Far behind the text, which other processes read.
            file.seek(2**30)
            lock: Any = msvcrt  # which only Windows has
            lock.locking(file.fileno(), lock.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def save_whole(oracle: keras_tuner.Oracle) -> None:
    """Makes an oracle write each of its files completely or not at all.

    Args:
        oracle: A `keras_tuner.Oracle`.
    """

    def save():
        write_json(oracle._get_oracle_fname(), oracle.get_state())

    def save_trial(trial):
        folder = oracle._get_trial_dir(trial.trial_id)
        write_json(Path(folder) / "trial.json", trial.get_state())

    oracle.save, oracle._save_trial = save, save_trial


def check_files(folder: Folder) -> None:
    """Checks that all files of a project can be read.

    Args:
        folder: Path of the project folder, which need not exist.

    Raises:
        InputError: If one cannot be read.
    """
    for path in sorted(Path(folder).glob("*.json")) + sorted(
        Path(folder).glob("trial_*/trial.json")
    ):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"A file of the search is truncated or corrupted ({error}), as "
                "keras-tuner leaves a file when it is killed. If it is a trial.json, "
                "delete its folder and the entries of the trial in oracle.json. "
                "Otherwise pass `overwrite=True` to start again, or choose another "
                f"`project_name`. Received: {path}"
            ) from error


def reconcile(oracle: keras_tuner.Oracle) -> None:
    """Makes an oracle that was just reloaded agree with what has been done.

    A kill can happen between two files. `oracle.json` decides which trials exist: a
    trial that it does not list is proposed again, with the same values, and its folder
    is deleted. A trial's own file decides whether it has ended: then its end is
    recorded, and it is not run again.

    Args:
        oracle: A `keras_tuner.Oracle`.
    """
    for trial_id in list(oracle.trials.keys() - set(oracle.start_order)):
        del oracle.trials[trial_id]
        shutil.rmtree(oracle._get_trial_dir(trial_id))
    unfinished = []
    for trial_id in dict.fromkeys(oracle._retry_queue):
        trial = oracle.trials[trial_id]
        if trial.status in ("COMPLETED", "FAILED"):
            if trial_id not in oracle.end_order:
                oracle.end_trial(trial)
            continue
        trial.metrics = type(trial.metrics)()
        unfinished.append(trial_id)
    # The oracle pops from the end, and the trial that was begun first goes first.
    unfinished.sort(key=oracle.start_order.index, reverse=True)
    oracle._retry_queue = unfinished


def describe(oracle: keras_tuner.Oracle, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what has to be the same when a search is continued.

    Args:
        oracle: A `keras_tuner.Oracle`.
        settings: Dict of the other settings that have to be the same.

    Returns:
        Dict, as JSON would give it back.
    """
    objective = oracle.objective
    parts = getattr(objective, "objectives", [objective])
    space = [
        {"kind": type(each).__name__, **each.get_config()}
        for each in oracle.get_space().space
    ]
    about = {
        "format": FORMAT,
        "objective": [[each.name, each.direction] for each in parts],
        "space": space,
        **settings,
    }
    return json.loads(json.dumps(about, default=repr))


def check_same(path: Folder, here: Mapping[str, Any]) -> None:
    """Checks that a search was begun with the same description.

    Args:
        path: Path of the description that was saved.
        here: Dict, the description of this search.

    Raises:
        InputError: If they differ; it says in what.
    """
    there = json.loads(Path(path).read_text(encoding="utf-8"))
    if there.get("format") != here["format"]:
        raise InputError(
            "The search was begun by another version of Hornbook, in format "
            f"{there.get('format')}, and this version has format {here['format']}. "
            "Continue it with that version, pass `overwrite=True` to start again, or "
            f"choose another `project_name`. Received: project folder "
            f"{Path(path).parent}"
        )
    for name in here.keys() | there.keys():
        one, other = there.get(name), here.get(name)
        if one == other:
            continue
        if name == "space":
            one = [each for each in there[name] if each not in here[name]]
            other = [each for each in here[name] if each not in there[name]]
        raise InputError(
            f"The folder holds another search: its {name} has {one} where this one "
            f"has {other}. Pass `overwrite=True` to start again, or choose another "
            f"`project_name`. Received: project folder {Path(path).parent}"
        )
