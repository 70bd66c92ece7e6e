"""What the rules on a training look at: its curves, and the monitor's table."""

import csv
import math

import numpy as np

from hornbook.errors import InputError
from hornbook.recipes.diagnosis.verdict import verdict

TEXT = ("layer", "kind", "activation")


class Run:
    """A training that is over, or that goes on.

    Attributes:
        rows: The monitor's table, a list of dicts; empty where there was none.
        curves: A `CurveReport`, or `None` without a history.
        validated: Whether there were validation losses.
        data: `(x, y)` of the training set, or `None`.
        baseline: Loss of the best constant guess, or `None`.
    """

    def __init__(self, history=None, rows=None, data=None, baseline=None):
        self.history = history if history is None else as_columns(history)
        self.rows = list(rows or ())
        self.data, self.baseline = data, baseline
        self.curves = self.history and verdict(self.history, baseline)
        self.steps = list(dict.fromkeys(row["step"] for row in self.rows))
        self.layers = list(dict.fromkeys(row["layer"] for row in self.rows))
        self._places = {(row["step"], row["layer"]): row for row in self.rows}

    def series(self, layer, name):
        """A figure of a layer by step, with NaN where there is none."""
        rows = (self._places.get((step, layer), {}) for step in self.steps)
        values = (row.get(name) for row in rows)
        return np.array([math.nan if v is None else v for v in values], "float64")

    def first(self, layer, name):
        """A figure at the first measurement."""
        return self._at(0, layer, name)

    def last(self, layer, name):
        """A figure at the last measurement."""
        return self._at(-1, layer, name)

    def _at(self, place, layer, name):
        return self._places.get((self.steps[place], layer), {}).get(name)

    def is_norm(self, layer):
        """Whether a layer normalises: its weights are scales and offsets."""
        return "Normalization" in (self.last(layer, "kind") or "")

    def kernels(self):
        """Layers with a kernel that is trained, in the order of their calls."""
        return [
            layer
            for layer in self.layers
            if self.last(layer, "trainable") == 1 and not self.is_norm(layer)
        ]

    def typical(self, name):
        """Of a figure the median over layers with a kernel and the run's first half.

        The first step is left out: some optimizers begin with an odd one.
        """
        medians = self._medians(name)[: max(2, math.ceil(len(self.steps) / 2))]
        medians = medians[1:] if len(medians) > 1 else medians
        return float(np.nanmedian(medians)) if np.isfinite(medians).any() else math.nan

    def highest(self, name):
        """Of a figure the highest median over layers with a kernel."""
        medians = self._medians(name)
        return float(np.nanmax(medians)) if np.isfinite(medians).any() else math.nan

    def _medians(self, name):
        table = np.array([self.series(layer, name) for layer in self.kernels()])
        if not table.size:
            return np.full(len(self.steps), math.nan)
        there = np.isfinite(table).any(axis=0)
        medians = np.full(len(self.steps), math.nan)
        medians[there] = np.nanmedian(table[:, there], axis=0)
        return medians


def as_columns(history):
    """A history as a dict of lists: from a `History`, a dict, a table or rows."""
    history = getattr(history, "history", history)
    if not hasattr(history, "keys"):
        rows = list(history)
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: [row.get(name) for row in rows] for name in names}
    return {name: list(history[name]) for name in history}


def read_table(path):
    """Reads a CSV: numbers as floats, what is empty as `None`.

    Args:
        path: A `monitor.csv` of `TrainingMonitor`, or a history as `CSVLogger` and
            `hornbook finetune` write it.

    Returns:
        List of dicts.

    Raises:
        InputError: If it cannot be read, or has no row.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} can't be read as CSV: {error}.") from error
    if not rows:
        raise InputError(f"{path} has no rows.")
    return [{name: _parse(text) for name, text in row.items()} for row in rows]


def _parse(text):
    if text in (None, "", "NA"):
        return None
    try:
        return float(text)
    except (TypeError, ValueError):
        return text
