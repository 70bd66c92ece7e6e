"""A project folder that survives a kill at any moment, and has one writer."""

import contextlib
import json
import os
import shutil
import socket
import time
from pathlib import Path

from hornbook.errors import InputError
from hornbook.files import write_json

FORMAT = 1


@contextlib.contextmanager
def locked(folder):
    """Holds the lock of a project folder, which lies beside it.

    The system lets go of it when the process ends, however it ends.

    Raises:
        InputError: if another search holds it.
    """
    folder = Path(folder)
    path = folder.with_name(f"{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        if not _try_lock(file):
            file.seek(0)
            raise InputError(
                f"Another search writes to `{folder}`: {file.read().strip()}. Wait for "
                "it, end it, or choose another `project_name`."
            )
        file.truncate(0)
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {now}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _try_lock(file):
    try:
        if os.name == "nt":
            import msvcrt

            # Far behind the text, which others may read.
            file.seek(2**30)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def save_whole(oracle):
    """Makes an oracle write each of its files whole or not at all."""

    def save():
        write_json(oracle._get_oracle_fname(), oracle.get_state())

    def save_trial(trial):
        folder = oracle._get_trial_dir(trial.trial_id)
        write_json(Path(folder) / "trial.json", trial.get_state())

    oracle.save, oracle._save_trial = save, save_trial


def check_files(folder):
    """Raises `InputError` if a file of a project cannot be read."""
    for path in sorted(Path(folder).glob("*.json")) + sorted(
        Path(folder).glob("trial_*/trial.json")
    ):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"`{path}` is cut short or damaged ({error}), as keras-tuner leaves a "
                "file when it is killed. If it is a trial.json, delete its folder and "
                "the trial's entries in oracle.json; else pass `overwrite=True` to "
                "start afresh, or choose another `project_name`."
            ) from error


def mend(oracle):
    """Makes an oracle that was just reloaded agree with what was done.

    A kill can fall between two files. `oracle.json` decides which trials there are:
    one that it does not know is proposed again, with the same values, and its folder
    is removed. A trial's own file decides whether it is done: then its end is recorded,
    and it is not run again.
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
    # `pop` takes the last, and the first that was begun comes first.
    unfinished.sort(key=oracle.start_order.index, reverse=True)
    oracle._retry_queue = unfinished


def describe(oracle, settings):
    """What must be the same when a search goes on, as JSON holds it."""
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


def check_same(path, here):
    """Raises `InputError` unless the project was begun with the same description.

    Args:
        path: Of the description that was saved.
        here: The description of this search.
    """
    there = json.loads(Path(path).read_text(encoding="utf-8"))
    if there.get("format") != here["format"]:
        raise InputError(
            f"`{Path(path).parent}` was written by another version of Hornbook, in "
            f"format {there.get('format')}; this one has {here['format']}. Go on with "
            "that version, pass `overwrite=True` to start afresh, or choose another "
            "`project_name`."
        )
    for name in here.keys() | there.keys():
        one, other = there.get(name), here.get(name)
        if one == other:
            continue
        if name == "space":
            one = [each for each in there[name] if each not in here[name]]
            other = [each for each in here[name] if each not in there[name]]
        raise InputError(
            f"`{Path(path).parent}` holds another search: its {name} has {one} where "
            f"this one has {other}. Pass `overwrite=True` to start afresh, or choose "
            "another `project_name`."
        )
