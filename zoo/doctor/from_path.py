"""Diagnoses files: a run folder, a model or a history."""

import json
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hornbook.errors import InputError
from hornbook.zoo.doctor.diagnose import Diagnosis, diagnose
from hornbook.zoo.doctor.training_log import read_table
from hornbook.zoo.keras_file import load_keras_file


def diagnose_path(
    path: str | os.PathLike,
    data: str | os.PathLike | None = None,
    batch_size: int | None = None,
    safe_mode: bool = True,
) -> Diagnosis:
    """Diagnoses a file or a folder.

    Args:
        path: Path of a `.keras` file; of a CSV file of `CSVLogger` or
            `TrainingMonitor`; or of a folder with any of `model.keras`, `history.csv`
            and `monitor.csv`, such as a run of `hornbook finetune`.
        data: Path of an `.npz` file with `x` and `y`, and optionally `x_val` and
            `y_val`.
        batch_size: Batch size of the training.
        safe_mode: Whether to refuse a model file that carries code.

    Returns:
        A `Diagnosis`.

    Raises:
        InputError: If a file is missing, is damaged or carries code.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"The file or folder does not exist. Received: {path}")
    if path.is_dir():
        return _diagnose_folder(path, data, batch_size, safe_mode)
    if path.suffix == ".keras":
        train, validation = read_arrays(data) if data else (None, None)
        model = load_keras_file(path, safe_mode, compile=True)
        return _diagnose(model, train, validation, batch_size)
    if path.suffix == ".csv":
        rows = read_table(path)
        kind = "monitor" if "layer" in rows[0] else "history"
        return _diagnose(**{kind: rows})
    raise InputError(
        "hornbook doctor takes a run folder, a .keras file or a .csv file. "
        f"Received: {path}"
    )


def diagnose_run(folder: str | os.PathLike) -> Diagnosis:
    """Diagnoses a run of `hornbook finetune` by its curves and its monitor, if any.

    Args:
        folder: Path of the run folder.

    Returns:
        A `Diagnosis`.
    """
    return _diagnose(**_tables(Path(folder)))


def _diagnose_folder(
    folder: Path,
    data: str | os.PathLike | None,
    batch_size: int | None,
    safe_mode: bool,
) -> Diagnosis:
    tables = _tables(folder)
    path = folder / "model.keras"
    if not tables and not path.is_file():
        raise InputError(
            "A run folder must have one of model.keras, history.csv and monitor.csv. "
            f"Received: {folder}"
        )
    train, validation = read_arrays(data) if data else (None, None)
    model = load_keras_file(path, safe_mode, compile=True) if path.is_file() else None
    return _diagnose(model, train, validation, batch_size, **tables)


def _tables(folder: Path) -> dict[str, Any]:
    """The arguments of `diagnose` that the CSV files of a folder give."""
    found: dict[str, Any] = {
        name: read_table(folder / f"{name}.csv")
        for name in ("history", "monitor")
        if (folder / f"{name}.csv").is_file()
    }
    config = folder / "config.json"
    if "history" in found and config.is_file():
        try:
            classes = json.loads(config.read_text(encoding="utf-8")).get("class_names")
        except ValueError as error:
            raise InputError(
                f"The file is not valid JSON ({error}). Received: {config}"
            ) from error
        if classes and len(classes) > 1:
            found["baseline"] = math.log(len(classes))
    return found


def _diagnose(*arguments: Any, **keywords: Any) -> Diagnosis:
    try:
        return diagnose(*arguments, **keywords)
    except ValueError as error:
        raise InputError(str(error)) from error


def read_arrays(path: str | os.PathLike) -> tuple[Any, Any]:
    """Reads a training set and a validation set from an `.npz` file.

    Args:
        path: Path of the file.

    Returns:
        Two sets, each as `(x, y)` or `x`; the second may be `None`.

    Raises:
        InputError: If the file cannot be read, or has no `x`.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"The .npz file cannot be read ({error}). Received: {path}"
        ) from error
    if "x" not in arrays:
        raise InputError(
            "The .npz file must have an array `x`, and `y` for the labels. "
            f"Received: {path} with {sorted(arrays)}"
        )
    train, validation = (
        (arrays[x], arrays[y]) if y in arrays else arrays.get(x)
        for x, y in (("x", "y"), ("x_val", "y_val"))
    )
    return train, validation
