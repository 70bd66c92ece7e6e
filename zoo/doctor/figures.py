"""The figures of a diagnosis: learning curves with the verdict, and each layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from hornbook.pages.figures import BLUE, GREEN, INK, ORANGE, QUIET, styled
from hornbook.zoo.doctor.training_log import TrainingLog

BAND = (3e-4, 3e-3)  # of common update ratios, around a thousandth
MOST_LAYERS = 40
GREY = "#8a8a8a"
QUANTILES = ("02", "25", "50", "75", "98")


@styled
def draw_verdict(log: TrainingLog) -> Figure:
    """The learning curves, with marks for the verdict.

    Args:
        log: A `TrainingLog` with a history.

    Returns:
        `matplotlib.figure.Figure`.

    Example:

    >>> history = {"loss": [2.0, 1.0, 0.5], "val_loss": [2.0, 1.2, 1.1]}
    >>> draw_verdict(TrainingLog(history)).axes[0].get_ylabel()
    'Loss'
    """
    figure = Figure((8.4, 3.6), layout="constrained")
    axes = figure.subplots()
    curves: Any = log.curves  # there, since there is a history
    epochs = np.arange(1, len(log.history["loss"]) + 1)
    looks = {"loss": ("training", BLUE, "-"), "val_loss": ("validation", ORANGE, "--")}
    for name, (title, colour, dashes) in looks.items():
        if name in log.history:
            loss = np.array(
                [np.nan if v in (None, "") else v for v in log.history[name]]
            )
            axes.plot(
                epochs,
                loss.astype(float),
                dashes,
                color=colour,
                lw=2,
                marker="o" if len(epochs) <= 40 else None,
                ms=4,
                label=title,
            )
    if log.baseline:
        axes.axhline(
            log.baseline, color=QUIET, lw=1, ls=":", label="constant prediction"
        )
    marks = {curves.best_epoch: (f"lowest, epoch {curves.best_epoch}", GREEN)}
    if curves.epoch and curves.condition == "diverged":
        marks[curves.epoch] = (f"diverged, epoch {curves.epoch}", ORANGE)
    marks.pop(None, None)
    for i, (epoch, (text, colour)) in enumerate(marks.items()):
        axes.axvline(epoch, color=colour, lw=1.5, ls="-.", label=text, zorder=0.5 + i)
    if curves.condition == "overfits":
        axes.axvspan(curves.epoch, epochs[-1], color="#fbe6da", lw=0, zorder=0)
    axes.set_xlim(0.5, len(epochs) + 0.5)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Loss")
    title = f"{curves.condition} (confidence {curves.confidence:.2f})"
    axes.set_title(title, loc="left", size=12)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def shown_layers(log: TrainingLog) -> list[str]:
    """Layers to draw, in the order of their calls: at most 40, evenly spaced."""
    layers = [
        layer
        for layer in log.layers
        if not log.is_norm(layer)
        and (log.last(layer, "trainable") is not None or log.last(layer, "activation"))
    ]
    places = np.linspace(0, len(layers) - 1, min(len(layers), MOST_LAYERS))
    return [layers[int(place)] for place in places]


def short_names(layers: Sequence[str]) -> list[str]:
    """Short names of layers: the shortest end of each path that is unique.

    Example:

    >>> short_names(["net/stem", "net/one/conv", "net/two/conv"])
    ['stem', 'one/conv', 'two/conv']
    """
    names = []
    for layer in layers:
        parts = layer.split("/")
        ends = ["/".join(parts[-n:]) for n in range(1, len(parts) + 1)]
        others = [f"/{other}" for other in layers if other != layer]
        alone = (e for e in ends if not any(o.endswith(f"/{e}") for o in others))
        names.append(next(alone, layer))
    return [name if len(name) <= 24 else "…" + name[-23:] for name in names]


@styled
def draw_distributions(log: TrainingLog) -> Figure | None:
    """Activations and gradients by layer, at the first and the last measurement.

    As in Glorot and Bengio (2010): it shows whether values shrink or grow from layer to
    layer, or saturate.

    Args:
        log: A `TrainingLog` with a monitor's table.

    Returns:
        `matplotlib.figure.Figure`, or `None` if there was no probe.
    """
    layers = shown_layers(log)
    # The values before an activation would hide those after it.
    nonlinear = [layer for layer in layers if log.last(layer, "activation")] or layers
    panels = [
        ("Activations", "activation", nonlinear),
        ("Gradients by weights", "gradient", layers),
    ]
    panels = [
        (
            title,
            name,
            [each for each in these if log.last(each, f"{name}_q50") is not None],
        )
        for title, name, these in panels
    ]
    panels = [panel for panel in panels if panel[-1]]
    if not panels:
        return None
    most = max(len(these) for *_, these in panels)
    figure = Figure((8.4, 1.4 + 0.34 * most), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, name, these) in zip(grid, panels, strict=True):
        for moment, at, colour, shift in (
            ("first", log.first, GREY, -0.16),
            ("last", log.last, BLUE, 0.16),
        ):
            axes.plot([], [], color=colour, lw=5, label=f"{moment} measurement")
            for i, layer in enumerate(these):
                q = [at(layer, f"{name}_q{each}") for each in QUANTILES]
                if None not in q and np.isfinite(q).all():
                    y = [i + shift] * 2
                    axes.plot(q[::4], y, color=colour, lw=1.2)
                    axes.plot(q[1:4:2], y, color=colour, lw=5, solid_capstyle="butt")
                    axes.plot(q[2], y[0], "|", color="white", ms=5, mew=1.5)
        axes.axvline(0, color=QUIET, lw=0.8, zorder=0)
        axes.set_title(title, size=11)
        axes.grid(axis="y", color="#e4e4e4", lw=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0, labelsize=9)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_yticks(range(len(these)), short_names(these))
        axes.set_ylim(len(these) - 0.5, -0.5)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


@styled
def draw_layers(log: TrainingLog) -> Figure:
    """A row for each layer: activations, update ratio, dead and saturated units.

    Args:
        log: A `TrainingLog` with a monitor's table.

    Returns:
        `matplotlib.figure.Figure`.
    """
    layers = shown_layers(log)
    panels = {
        "Activations": _draw_activations,
        "Update / weight": _draw_ratio,
        "Dead, saturated": _draw_shares,
    }
    figure = Figure((8.4, 0.9 + 0.92 * len(layers)), layout="constrained")
    grid = figure.subplots(len(layers), 3, squeeze=False, sharex=True)
    for name, layer, row in zip(short_names(layers), layers, grid, strict=True):
        for axes, draw in zip(row, panels.values(), strict=True):
            if not draw(axes, log, layer):
                axes.text(0.5, 0.5, "–", color=QUIET, transform=axes.transAxes)
                axes.set_yticks([])
            axes.tick_params(labelsize=8)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        row[0].set_ylabel(
            name, rotation=0, ha="right", va="center", size=9, labelpad=10
        )
    for axes, title in zip(grid[0], panels, strict=True):
        axes.set_title(title, size=11)
    for axes in grid[-1]:
        axes.set_xlabel("Step", size=9)
    figure.align_ylabels(grid[:, 0])
    return figure


def _draw_activations(axes: Axes, log: TrainingLog, layer: str) -> bool:
    q = [log.series(layer, f"activation_q{each}") for each in QUANTILES]
    if not np.isfinite(q[2]).any():
        return False
    axes.fill_between(log.steps, q[0], q[4], color=BLUE, alpha=0.18, lw=0)
    axes.fill_between(log.steps, q[1], q[3], color=BLUE, alpha=0.35, lw=0)
    axes.plot(log.steps, q[2], color=BLUE, lw=1.5)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    return True


def _draw_ratio(axes: Axes, log: TrainingLog, layer: str) -> bool:
    ratio = log.series(layer, "update_ratio")
    if log.last(layer, "trainable") == 0:
        axes.text(
            0.5, 0.5, "frozen", color=ORANGE, ha="center", transform=axes.transAxes
        )
        axes.set_yticks([])
        return True
    if not np.isfinite(ratio).any():
        return False
    shown = np.clip(ratio, 1e-7, 10)
    axes.axhspan(*BAND, color=GREEN, alpha=0.22, lw=0)
    axes.semilogy(log.steps, shown, color=INK, lw=1.5)
    low, high = np.nanmin(shown), np.nanmax(shown)
    axes.set_ylim(min(1e-5, low / 2), max(1e-1, high * 2))
    axes.set_yticks([1e-5, 1e-3, 1e-1], ["1e-5", "1e-3", "1e-1"])
    axes.minorticks_off()
    return True


def _draw_shares(axes: Axes, log: TrainingLog, layer: str) -> bool:
    dead = log.series(layer, "dead_units") / log.series(layer, "units")
    saturated = log.series(layer, "saturated_fraction")
    for share, name, colour in ((dead, "dead", ORANGE), (saturated, "saturated", BLUE)):
        if np.isfinite(share).any():
            axes.plot(log.steps, share, color=colour, lw=1.5)
            place = {"va": "bottom" if share[-1] < 0.7 else "top", "ha": "right"}
            text = f"{name} {share[-1]:.0%}"
            if name == "dead":
                counts = (log.last(layer, each) for each in ("dead_units", "units"))
                text = "dead {:.0f} of {:.0f}".format(*counts)
            y = share[-1] + (0.06 if share[-1] < 0.7 else -0.08)
            axes.text(log.steps[-1], y, text, color=colour, size=8, **place)
    axes.set_ylim(-0.04, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_yticks([0, 0.5, 1])
    return bool(np.isfinite(dead).any() or np.isfinite(saturated).any())
