"""What the rules on a training examine: its curves and the table of its monitor."""

import csv
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hornbook.errors import InputError
from hornbook.recipes.diagnosis.verdict import CurveReport, verdict

TEXT = ("layer", "kind", "activation")


class TrainingLog:
    """The curves and the monitor's table of a training.

    Args:
        history: As for `hornbook.recipes.diagnosis.verdict`, or `None`.
        rows: Rows of `TrainingMonitor`, or `None`.
        data: `(x, y)` of the training set, or `None`.
        baseline: Loss of the best constant prediction, or `None`.

    Attributes:
        rows: The table of the monitor, a list of dicts; empty without a monitor.
        curves: A `CurveReport`, or `None` without a history.
        steps: The steps of the table.
        layers: Paths of the layers in the table.
    """

    def __init__(
        self,
        history: Any = None,
        rows: Iterable[Mapping[str, Any]] | None = None,
        data: tuple[Any, Any] | None = None,
        baseline: float | None = None,
    ) -> None:
        self.history: Any = None if history is None else as_columns(history)
        self.rows = list(rows or ())
        self.data, self.baseline = data, baseline
        self.curves: CurveReport | None = (
            verdict(self.history, baseline) if self.history else None
        )
        self.steps = list(dict.fromkeys(row["step"] for row in self.rows))
        self.layers = list(dict.fromkeys(row["layer"] for row in self.rows))
        self._places = {(row["step"], row["layer"]): row for row in self.rows}

    def series(self, layer: str, name: str) -> np.ndarray:
        """A column for a layer by step, NaN where it has no value."""
        rows = (self._places.get((step, layer), {}) for step in self.steps)
        values = (row.get(name) for row in rows)
        return np.array([math.nan if v is None else v for v in values], "float64")

    def first(self, layer: str, name: str) -> Any:
        """The first value of a column for a layer, or `None`."""
        return self._at(0, layer, name)

    def last(self, layer: str, name: str) -> Any:
        """The last value of a column for a layer, or `None`."""
        return self._at(-1, layer, name)

    def _at(self, place: int, layer: str, name: str) -> Any:
        return self._places.get((self.steps[place], layer), {}).get(name)

    def is_norm(self, layer: str) -> bool:
        """Whether a layer is a normalisation layer."""
        return "Normalization" in (self.last(layer, "kind") or "")

    def kernels(self) -> list[str]:
        """Layers with a trainable kernel, in the order of their calls."""
        return [
            layer
            for layer in self.layers
            if self.last(layer, "trainable") == 1 and not self.is_norm(layer)
        ]

    def typical(self, name: str) -> float:
        """Median of a column over layers with a kernel and the first half of training.

        The first step is left out: some optimizers begin with an unusual one.
        """
        medians = self._medians(name)[: max(2, math.ceil(len(self.steps) / 2))]
        medians = medians[1:] if len(medians) > 1 else medians
        return float(np.nanmedian(medians)) if np.isfinite(medians).any() else math.nan

    def highest(self, name: str) -> float:
        """Largest median of a column over layers with a kernel."""
        medians = self._medians(name)
        return float(np.nanmax(medians)) if np.isfinite(medians).any() else math.nan

    def _medians(self, name: str) -> np.ndarray:
        table = np.array([self.series(layer, name) for layer in self.kernels()])
        if not table.size:
            return np.full(len(self.steps), math.nan)
        there = np.isfinite(table).any(axis=0)
        medians = np.full(len(self.steps), math.nan)
        medians[there] = np.nanmedian(table[:, there], axis=0)
        return medians


def as_columns(history: Any) -> dict[str, list]:
    """Converts a history to a dict of lists: a `History`, a dict, a table or rows."""
    history = getattr(history, "history", history)
    if not hasattr(history, "keys"):
        rows = list(history)
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: [row.get(name) for row in rows] for name in names}
    return {name: list(history[name]) for name in history}


def read_table(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads a CSV file: numbers become floats, empty fields `None`.

    Args:
        path: A `monitor.csv` of `TrainingMonitor`, or a history as `CSVLogger` and
            `hornbook finetune` write it.

    Returns:
        List of dicts.

    Raises:
        InputError: If the file cannot be read, or has no rows.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"The CSV file cannot be read ({error}). Received: {path}"
        ) from error
    if not rows:
        raise InputError(f"The CSV file has no rows. Received: {path}")
    return [{name: _parse(text) for name, text in row.items()} for row in rows]


def _parse(text: str | None) -> float | str | None:
    if text in (None, "", "NA"):
        return None
    try:
        return float(text)
    except (TypeError, ValueError):
        return text
