"""Learning curves of a training with phases."""

import itertools

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hornbook.pages.figures import BAND, BLUE, ORANGE, QUIET, styled

PHASES = {"head": "head alone", "all": "all layers"}


@styled
def draw_curves(history: list[dict]) -> Figure:
    """Loss and accuracy by epoch, side by side, with the phases as bands.

    Args:
        history: List of dicts, one an epoch, with `phase`, `epoch` (from 1), `loss`
            and `accuracy` (a fraction). `val_loss` and `val_accuracy`, drawn dashed,
            may be missing or None.

    Returns:
        `matplotlib.figure.Figure`.

    Example:

    >>> row = {"phase": "head", "epoch": 1, "loss": 2.3, "accuracy": 0.1}
    >>> [axes.get_ylabel() for axes in draw_curves([row]).axes]
    ['Loss (cross-entropy, nats)', 'Accuracy (%)']
    """
    figure = Figure((8.4, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for axes, metric, unit in ((left, "loss", 1), (right, "accuracy", 100)):
        _draw_phases(axes, history)
        lines = {"training": metric, "validation": f"val_{metric}"}
        lines = {name: unit * _column(history, key) for name, key in lines.items()}
        _draw_lines(axes, epochs, lines)
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel("Epoch")
    left.set_ylabel("Loss (cross-entropy, nats)")
    left.set_ylim(bottom=0)
    right.set_ylabel("Accuracy (%)")
    right.set_ylim(0, 103)
    return figure


def _column(history, key):
    """One column of the history, with NaN where there is nothing."""
    return np.array([row.get(key) for row in history], float)


def _draw_phases(axes, history):
    phases = itertools.groupby(history, key=lambda row: row["phase"])
    for i, (phase, rows) in enumerate(phases):
        epochs = [row["epoch"] for row in rows]
        start, end = epochs[0] - 0.5, epochs[-1] + 0.5
        axes.axvspan(start, end, color=BAND if i % 2 == 0 else "white", lw=0)
        axes.text(
            (start + end) / 2,
            1.02,
            PHASES.get(phase, phase),
            color=QUIET,
            ha="center",
            transform=axes.get_xaxis_transform(),
        )


def _draw_lines(axes, epochs, lines):
    """Lines named at their right ends, the higher name above the lower one."""
    lines = {name: y for name, y in lines.items() if np.isfinite(y).any()}
    ends = {name: y[np.isfinite(y)][-1] for name, y in lines.items()}
    looks = {"training": (BLUE, "-"), "validation": (ORANGE, "--")}
    for name, y in lines.items():
        colour, dashes = looks[name]
        dot = "o" if len(epochs) <= 40 else None
        axes.plot(epochs, y, dashes, color=colour, lw=2, marker=dot, ms=4)
        place = "center"
        if len(lines) == 2:
            place = "bottom" if name == max(ends, key=ends.get) else "top"
        axes.annotate(
            name,
            (epochs[-1], ends[name]),
            xytext=(8, 0),
            textcoords="offset points",
            color=colour,
            va=place,
            annotation_clip=False,
        )
