"""Diagnoses what is on disk: a run folder, a model, a history."""

import json
import math
import zipfile
from pathlib import Path

import numpy as np

from hornbook.errors import InputError
from hornbook.zoo.doctor.diagnose import diagnose
from hornbook.zoo.doctor.training_log import read_table
from hornbook.zoo.keras_file import load_keras_file


def diagnose_path(path, data=None, batch_size=None, safe_mode=True):
    """Diagnoses a file or a folder.

    Args:
        path: A `.keras` file; a CSV of epochs (as `CSVLogger` writes) or of a
            `TrainingMonitor`; or a folder with any of `model.keras`, `history.csv`
            and `monitor.csv`, as a run of `hornbook finetune`.
        data: An `.npz` with `x` and `y`, perhaps `x_val` and `y_val`.
        batch_size: Of the training.
        safe_mode: Whether to refuse a model file that carries code.

    Returns:
        A `Diagnosis`.

    Raises:
        InputError: If a file is not there, is damaged or carries code.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no such file or folder: {path}")
    if path.is_dir():
        return _diagnose_folder(path, data, batch_size, safe_mode)
    if path.suffix == ".keras":
        train, validation = read_arrays(data) if data else (None, None)
        model = load_keras_file(path, safe_mode, compile=True)
        return _look(model, train, validation, batch_size)
    if path.suffix == ".csv":
        rows = read_table(path)
        kind = "monitor" if "layer" in rows[0] else "history"
        return _look(**{kind: rows})
    raise InputError(
        "hornbook doctor takes a run folder, a .keras file or a .csv file. "
        f"Received: {path}"
    )


def diagnose_run(folder):
    """Diagnoses a run of `hornbook finetune` by its curves and its monitor, if any.

    Args:
        folder: The run folder.

    Returns:
        A `Diagnosis`.
    """
    return _look(**_tables(Path(folder)))


def _diagnose_folder(folder, data, batch_size, safe_mode):
    tables = _tables(folder)
    model = folder / "model.keras"
    if not tables and not model.is_file():
        raise InputError(
            f"{folder} has none of model.keras, history.csv and monitor.csv. "
            "Give the folder of a run."
        )
    train, validation = read_arrays(data) if data else (None, None)
    model = load_keras_file(model, safe_mode, compile=True) if model.is_file() else None
    return _look(model, train, validation, batch_size, **tables)


def _tables(folder):
    """What `diagnose` takes of a folder's CSV files."""
    found = {
        name: read_table(folder / f"{name}.csv")
        for name in ("history", "monitor")
        if (folder / f"{name}.csv").is_file()
    }
    config = folder / "config.json"
    if "history" in found and config.is_file():
        try:
            classes = json.loads(config.read_text(encoding="utf-8")).get("classes")
        except ValueError as error:
            raise InputError(f"{config} is damaged: {error}.") from error
        if classes and len(classes) > 1:
            found["baseline"] = math.log(len(classes))
    return found


def _look(*arguments, **keywords):
    try:
        return diagnose(*arguments, **keywords)
    except ValueError as error:
        raise InputError(str(error)) from error


def read_arrays(path):
    """Training and validation set from an `.npz`, the latter perhaps `None`.

    Raises:
        InputError: If it can't be read, or has no `x`.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} can't be read as .npz: {error}") from error
    if "x" not in arrays:
        raise InputError(
            f"{path} needs an array `x`, and `y` for the labels. "
            f"Received: {sorted(arrays)}"
        )
    sets = [
        (arrays[x], arrays[y]) if y in arrays else arrays.get(x)
        for x, y in (("x", "y"), ("x_val", "y_val"))
    ]
    return tuple(sets)
