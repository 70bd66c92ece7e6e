"""The record of a trial: `hornbook.json` in the folder of the trial.

It is a dict with "key", which tells whether a trial that was interrupted may go on;
"score", the rule; "runs", a list with a dict for each training; and, over all
trainings, "metrics", "sd", "epoch", "best" and "seconds".
"""

import hashlib
import json
import shutil
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
from keras import tree

from hornbook.files import write_json

RECORD = "hornbook.json"
WITHOUT_EFFECT = {"callbacks", "verbose"}  # On whether a saved state may be used.
SAMPLE = 64  # Examples that tell one data set from another.

Record = dict[str, Any]


def trial_key(
    trial_id: str,
    hyperparameters: keras_tuner.HyperParameters,
    rules: Sequence[Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> str:
    """Returns a hash of what has to be the same for a trial to go on.

    Args:
        trial_id: String, the id of the trial.
        hyperparameters: The values of the trial.
        rules: List of the settings of the search that a trial's record depends on.
        args: Positional arguments of `fit`.
        kwargs: Dict of keyword arguments of `fit`.
    """
    given = [*enumerate(args), *sorted(kwargs.items())]
    about = [
        trial_id,
        sorted(hyperparameters.values.items()),
        list(rules),
        [(name, _digest(v)) for name, v in given if name not in WITHOUT_EFFECT],
    ]
    return hashlib.sha256(repr(about).encode()).hexdigest()[:12]


def read_or_begin(folder: Path, key: str, score: Any) -> Record:
    """Reads the record of a trial that was interrupted, or begins a new one.

    Saved states of trials with another key are deleted.

    Args:
        folder: Path of the folder of the trial.
        key: What `trial_key` returns.
        score: The rule by which epochs are scored.
    """
    path = folder / RECORD
    if path.exists():
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["key"] == key:
            return record
        path.unlink()
    for state in folder.glob("state-*"):
        if not state.name.startswith(f"state-{key}-"):
            shutil.rmtree(state)
    return {"key": key, "score": score, "best": None, "seconds": 0.0, "runs": []}


def save(record: Record, folder: Path) -> None:
    """Writes a record with the means over the trainings that are done.

    Args:
        record: The record, which gets its "metrics", "sd" and "epoch".
        folder: Path of the folder of the trial.
    """
    runs = record["runs"]
    names = set.intersection(*(set(run["metrics"]) for run in runs))
    table = {name: [run["metrics"][name] for run in runs] for name in sorted(names)}
    record["metrics"] = {name: float(np.mean(v)) for name, v in table.items()}
    record["sd"] = {
        name: float(np.std(v, ddof=1)) if len(v) > 1 else None
        for name, v in table.items()
    }
    record["epoch"] = int(np.mean([run["epoch"] for run in runs]))
    write_json(folder / RECORD, record)


def _digest(value: Any) -> list[Any]:
    """What tells data and settings apart, without reading all of the data."""
    leaves: list[Any] = []
    for leaf in tree.flatten(value):
        if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
            sample = keras.ops.convert_to_numpy(leaf[:SAMPLE]).tobytes()
            leaves.append((tuple(leaf.shape), str(leaf.dtype), zlib.crc32(sample)))
        elif isinstance(leaf, (bool, int, float, str, type(None))):
            leaves.append(leaf)
        else:
            leaves.append(type(leaf).__name__)
    return leaves
