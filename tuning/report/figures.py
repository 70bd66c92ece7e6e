"""Figures of a search: values against scores, and learning curves.

Trials are blue, the best one is orange, and ranges after narrowing are green: three
colours of Okabe and Ito. Shapes and labels tell them apart, too.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from hornbook.pages.figures import BLUE, GREEN, ORANGE, QUIET, styled
from hornbook.tuning.report.importance import Importance
from hornbook.tuning.report.read import Search

COLUMNS = 3
MAX_NAMES = 24
GREY = "#c8ced4"
SHADES = LinearSegmentedColormap.from_list("shades", ["#e3e8ec", "#7fb2d6", "#003a5c"])


@styled
def draw_hyperparameters(search: Search) -> Figure:
    """Draws each hyperparameter against the score, with a dot per trial.

    Trials of earlier stages are hollow. Green bands show the range or the choices after
    narrowing.

    Args:
        search: A `Search` with trials that have a score.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    names = list(search.space)[:MAX_NAMES]
    rows = -(-len(names) // COLUMNS)
    figure = Figure((9.6, 2.6 * rows), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True).ravel()
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    best = search.ranked()[:1]
    limits = _limits([trial.score for trial in search.done])
    for axes, name in zip(grid, names, strict=False):
        scale = Scale(search.space[name])
        _draw_narrowed(axes, scale, name, search.narrowing)
        last = max(trial.stage for trial in search.done)
        for trial in search.done:
            if name not in trial.values:
                continue
            x = scale.spread(trial.values[name], trial.id)
            _dot(axes, x, trial.score, limits, is_filled=trial.stage == last)
        for trial in best:
            if name in trial.values:
                x = scale.spread(trial.values[name], trial.id)
                look = {"marker": "D", "zorder": 3, "clip_on": False}
                axes.scatter(x, trial.score, 60, ORANGE, **look)
        scale.label(axes)
        axes.set_ylim(limits)
        axes.set_xlabel(name)
    for axes in grid[::COLUMNS]:
        axes.set_ylabel(search.objective)
    return figure


def _draw_narrowed(
    axes: Axes, scale: "Scale", name: str, narrowing: Iterable[Mapping[str, Any]]
) -> None:
    for each in narrowing:
        for change in each["changes"]:
            if change["name"] != name or change["new"] == change["old"]:
                continue
            if scale.choices is None:
                low, high = change["new"]
                axes.axvspan(low, high, color=GREEN, alpha=0.12, lw=0)
            else:
                for value in change["new"]:
                    index = scale.choices.index(str(value))
                    axes.axvspan(
                        index - 0.4, index + 0.4, color=GREEN, alpha=0.12, lw=0
                    )


class Scale:
    """The axis of a hyperparameter.

    Args:
        about: Dict with the "kind" and the "config" of the hyperparameter.
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        config = about["config"]
        self.choices: list[str] | None = None
        self.low = self.high = 0.0
        self.is_log = config.get("sampling") in ("log", "reverse_log")
        if "min_value" in config:
            self.low, self.high = config["min_value"], config["max_value"]
        else:
            values = config.get("values") or [config.get("value")]
            if about["kind"] == "Boolean":
                values = [True, False]
            self.choices = [str(value) for value in values]

    def spread(self, value: Any, trial_id: str) -> float:
        """Returns the position of a value.

        Dots of a choice are spread a little, so that they do not hide each other.
        """
        if self.choices is None:
            return value
        jitter = (int(trial_id) * 0.618) % 1 if trial_id.isdigit() else 0.5
        index = self.choices.index(str(value)) if str(value) in self.choices else -1
        return index + 0.5 * (jitter - 0.5)

    def share(self, value: Any) -> float:
        """Returns the position of a value between 0 and 1."""
        if self.choices is not None:
            index = self.choices.index(str(value)) if str(value) in self.choices else 0
            return (index + 0.5) / len(self.choices)
        low, high = self.low, self.high
        if self.is_log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return 0.5 if low == high else (value - low) / (high - low)

    def label(self, axes: Axes) -> None:
        """Sets the scale and the ticks of the x axis."""
        if self.choices is not None:
            short = [_shorten(name, 12) for name in self.choices]
            axes.set_xticks(range(len(short)), short)
            axes.set_xlim(-0.6, len(short) - 0.4)
            if sum(map(len, short)) > 24:
                axes.tick_params(axis="x", rotation=30)
        elif self.is_log:
            axes.set_xscale("log")
            axes.set_xlim(self.low, self.high)
            axes.xaxis.set_major_locator(LogLocator(numticks=5))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda v, position: f"{v:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_xlim(self.low, self.high)
            axes.xaxis.set_major_locator(MaxNLocator(5))


@styled
def draw_parallel(search: Search) -> Figure:
    """Draws trials as lines across the hyperparameters; darker lines are better.

    Args:
        search: A `Search` with trials that have a score.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    ranked = search.ranked()
    names = [name for name in search.space if any(name in t.values for t in ranked)]
    names = names[: MAX_NAMES // 2]
    scales = {name: Scale(search.space[name]) for name in names}
    scores = np.array([trial.score for trial in ranked])
    ranks = (len(ranked) - 1 - np.arange(len(ranked))) / max(len(ranked) - 1, 1)
    low, high = _limits(scores)
    figure = Figure((max(8.4, 1.3 * (len(names) + 1)), 4.2), layout="constrained")
    axes = figure.subplots()
    for number in reversed(range(len(ranked))):
        trial = ranked[number]
        line = {
            index: scales[name].share(trial.values[name])
            for index, name in enumerate(names)
            if name in trial.values
        }
        line[len(names)] = np.clip((trial.score - low) / (high - low), 0, 1)
        is_best = number == 0
        axes.plot(
            list(line),
            list(line.values()),
            color=ORANGE if is_best else SHADES(Normalize()(ranks)[number]),
            lw=2.6 if is_best else 1.2,
            marker="D" if is_best else "o",
            ms=6 if is_best else 3,
            zorder=3 if is_best else 1 + ranks[number],
        )
    for index, name in enumerate(names):
        axes.plot([index, index], [0, 1], color=QUIET, lw=0.8, zorder=0)
        top, bottom = _ends(scales[name])
        axes.text(index, 1.05, top, ha="center", va="bottom", size=9)
        axes.text(index, -0.05, bottom, ha="center", va="top", size=9)
    axes.plot([len(names)] * 2, [0, 1], color=QUIET, lw=0.8, zorder=0)
    axes.text(len(names), 1.05, f"{high:.3g}", ha="center", va="bottom", size=9)
    axes.text(len(names), -0.05, f"{low:.3g}", ha="center", va="top", size=9)
    labels = [_shorten(name, 18) for name in names]
    axes.set_xticks(range(len(names) + 1), [*labels, search.objective])
    turn = 20 if sum(map(len, labels)) > 60 else 0
    axes.tick_params(axis="x", length=0, labelrotation=turn)
    axes.set_yticks([])
    axes.set_ylim(-0.14, 1.14)
    axes.spines[:].set_visible(False)
    return figure


def _ends(scale: Scale) -> tuple[str, str]:
    if scale.choices is None:
        return f"{scale.high:.3g}", f"{scale.low:.3g}"
    first, last = scale.choices[0], scale.choices[-1]
    return _shorten(last, 12), _shorten(first, 12) if first != last else ""


@styled
def draw_importance(importance: Importance) -> Figure:
    """Draws a bar per hyperparameter, with standard deviations over the shuffles.

    Args:
        importance: An `Importance`.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    count = len(importance.names)
    figure = Figure((8.4, 0.42 * count + 1.1), layout="constrained")
    axes = figure.subplots()
    axes.barh(
        range(count),
        importance.mean,
        0.6,
        color=BLUE,
        xerr=importance.sd,
        error_kw={"ecolor": QUIET, "capsize": 3},
    )
    axes.set_yticks(range(count), [_shorten(name, 26) for name in importance.names])
    axes.set_ylim(count - 0.5, -0.5)
    axes.axvline(0, color=QUIET, lw=0.8)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("Drop of R² of the forest when the hyperparameter is shuffled")
    return figure


@styled
def draw_learning(search: Search) -> Figure:
    """Draws the objective of all trials by epoch, and the losses of the best one.

    Args:
        search: A `Search` with trials that have a score and curves.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure = Figure((9.6, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    ranked = [trial for trial in search.ranked() if trial.runs]
    for trial in reversed(ranked[1:]):
        for run in trial.runs[:1]:
            _draw_curve(left, run["curves"].get(search.objective), color=GREY, lw=1)
    best = ranked[0]
    for run in best.runs:
        curve = run["curves"].get(search.objective)
        _draw_curve(left, curve, color=ORANGE, lw=2)
        if curve:
            left.plot(run["epoch"] + 1, curve[run["epoch"]], "D", color=ORANGE, ms=7)
    runs = [run for trial in ranked for run in trial.runs]
    shown = [v for run in runs for v in run["curves"].get(search.objective, [])]
    if shown:
        left.set_ylim(_limits(shown))
    left.set_ylabel(search.objective)
    left.set_title(f"all trials; trial {best.id} in orange", size=10, color=QUIET)
    looks = {"loss": (BLUE, "-", "training"), "val_loss": (ORANGE, "--", "validation")}
    for name, (colour, dashes, label) in looks.items():
        for number, run in enumerate(best.runs):
            _draw_curve(
                right,
                run["curves"].get(name),
                color=colour,
                ls=dashes,
                lw=2,
                label=label if number == 0 else None,
            )
    right.set_ylabel("loss")
    right.set_title(f"trial {best.id}", size=10, color=QUIET)
    if right.get_legend_handles_labels()[0]:
        right.legend(frameon=False)
    for axes in (left, right):
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def _draw_curve(axes: Axes, values: Sequence[float] | None, **look: Any) -> None:
    if values:
        marker = "o" if len(values) == 1 else None
        axes.plot(range(1, len(values) + 1), values, marker=marker, **look)


@styled
def draw_best_so_far(search: Search) -> Figure:
    """Draws the scores in the order of the trials, and the best so far, by stage.

    Args:
        search: A `Search` with trials that have a score.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure = Figure((8.4, 3.2), layout="constrained")
    axes = figure.subplots()
    limits = _limits([trial.score for trial in search.done])
    start = 1
    for stage in sorted({trial.stage for trial in search.done}):
        scores = np.array([t.score for t in search.done if t.stage == stage])
        numbers = np.arange(start, start + len(scores))
        best = np.maximum if search.is_max else np.minimum
        for number, score in zip(numbers, scores, strict=True):
            _dot(axes, number, score, limits)
        axes.step(numbers, best.accumulate(scores), ORANGE, lw=2, where="post")
        if len(search.stages) > 1:
            axes.axvspan(
                start - 0.5,
                start + len(scores) - 0.5,
                color="#f0f0f0" if stage % 2 == 0 else "white",
                zorder=-1,
                lw=0,
            )
            middle = start + (len(scores) - 1) / 2
            axes.text(
                middle,
                1.02,
                search.stages[stage],
                color=QUIET,
                ha="center",
                transform=axes.get_xaxis_transform(),
            )
        start += len(scores)
    axes.set_ylim(limits)
    axes.set_xlim(0.5, start - 0.5)
    axes.set_xlabel("Trial")
    axes.set_ylabel(search.objective)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def _dot(
    axes: Axes,
    x: float,
    score: float,
    limits: tuple[float, float],
    is_filled: bool = True,
) -> None:
    """Draws a trial; an outlier becomes a triangle at the edge."""
    marker = "v" if score < limits[0] else "^" if score > limits[1] else "o"
    axes.scatter(
        x,
        np.clip(score, *limits),
        26,
        BLUE if is_filled else "none",
        edgecolors=BLUE,
        marker=marker,
        alpha=0.75,
        clip_on=False,
    )


def _limits(values: Iterable[float | None]) -> tuple[float, float]:
    """Limits of an axis that are robust to outliers."""
    found = np.asarray([v for v in values if v is not None and math.isfinite(v)])
    if not len(found):
        return 0.0, 1.0
    low, middle, high = np.percentile(found, [0, 50, 100])
    first, third = np.percentile(found, [25, 75])
    reach = 8 * max(third - first, 1e-9)
    low, high = max(low, middle - reach), min(high, middle + reach)
    edge = 0.05 * (high - low) or 0.05
    return low - edge, high + edge


def _shorten(text: Any, most: int) -> str:
    text = str(text)
    return text if len(text) <= most else text[: most - 1] + "…"
