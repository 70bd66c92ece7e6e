"""The files of a run folder: what each must hold, and how it is read and written."""

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hornbook.errors import InputError
from hornbook.files import atomic_write
from hornbook.zoo.runs.config import RunConfig, fields_of_a_run

CONFIG, METRICS, HISTORY = "config.json", "metrics.json", "history.csv"
MODEL = "model.keras"
FILES = (CONFIG, MODEL, METRICS, HISTORY)

# What each file must hold, beside the fields of a run in config.json.
CONFIG_SCHEMA = {
    "command": str,
    "versions": dict,
    "weights_sha256": str,
    "data_sha256": str,
    "class_names": list,
    "picture_size": int,
    "image_size": int,
    "channels": int,
    "processes": int,
}
METRICS_SCHEMA = {
    "counts": dict,
    "stopping": str,
    "epochs_run": dict,
    "test": dict,
    "confusion": list,
    "seconds": dict,
    "notices": list,
    "model_sha256": str,
}
HISTORY_COLUMNS = (
    *("phase", "epoch", "loss", "accuracy", "val_loss", "val_accuracy"),
    *("learning_rate", "seconds"),
)


def read_config(folder: str | Path) -> dict[str, Any]:
    """The config.json of a run folder, with every line that belongs there.

    Raises:
        InputError: if the folder or the file is missing, or is not a run's.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"There is no such run folder. Received: {folder}")
    config = _read(folder / CONFIG, CONFIG_SCHEMA)
    missing = [
        field.name
        for field in fields_of_a_run()
        if field.metadata["kind"] is not None and field.name not in config
    ]
    if missing:
        raise InputError(
            f"The run's {CONFIG} lacks {', '.join(missing)}; it was changed, or made "
            f"by another version. Received: {folder}"
        )
    RunConfig.from_dict(config)
    return config


def read_metrics(folder: str | Path) -> dict[str, Any]:
    """The metrics.json of a finished run.

    Raises:
        InputError: if it is missing, or is not a run's.
    """
    return _read(Path(folder) / METRICS, METRICS_SCHEMA)


def is_complete(folder: str | Path) -> bool:
    """Whether a run has come to its end: but for the report, metrics.json is last."""
    return (Path(folder) / METRICS).is_file()


def require_files(folder: str | Path) -> None:
    """Raises an `InputError` that names what a run folder lacks."""
    missing = [name for name in FILES if not (Path(folder) / name).is_file()]
    if not missing:
        return
    if is_complete(folder):
        raise InputError(
            f"The run has ended, but {', '.join(missing)} has been removed since; "
            f"train again, or bring it back. Received: {folder}"
        )
    raise InputError(
        f"The run folder lacks {', '.join(missing)}; finish the run with "
        f"`hornbook finetune --resume {folder}`."
    )


def write_history(path: Path, rows: list[dict]) -> None:
    """Writes one line an epoch; what was not measured is left empty."""
    more = sorted({name for row in rows for name in row} - set(HISTORY_COLUMNS))
    with (
        atomic_write(path) as new,
        open(new, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, [*HISTORY_COLUMNS, *more], restval="")
        writer.writeheader()
        writer.writerows(rows)


def read_history(path: Path) -> list[dict]:
    """Reads what `write_history` wrote.

    Raises:
        InputError: if a line is not an epoch's.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [
                {
                    key: text if key == "phase" else _number(text)
                    for key, text in row.items()
                }
                for row in csv.DictReader(file)
            ]
        if any(None in row or row["epoch"] is None for row in rows):
            raise ValueError("a line is not complete")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The run's history can't be read ({error}): {path}"
        ) from error
    return rows


def _number(text):
    return float(text) if text else None


def _read(path: Path, schema: Mapping[str, Any]) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"The run folder has no {path.name}. Received: {path.parent}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"The run's {path.name} can't be read ({error}): {path}"
        ) from error
    if not isinstance(found, dict):
        raise InputError(
            f"The run's {path.name} can't be read: it is no object: {path}"
        )
    for name, kind in schema.items():
        value = found.get(name)
        if not isinstance(value, kind) or (kind is float and not math.isfinite(value)):
            raise InputError(
                f"The run's {path.name} can't be read: {name} is "
                f"{'missing' if name not in found else 'not as it should be'}: {path}"
            )
    return found
