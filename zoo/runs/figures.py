"""The pictures of a fine-tuning run: curves, confusions, mistakes, comparison.

Each function draws one `matplotlib.figure.Figure` in the style of
`hornbook.pages.figures`, whose `save_figure` writes it.
"""

import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from PIL import Image

from hornbook.pages.figures import BLUE, GREEN, ORANGE, QUIET, styled

BLUES = LinearSegmentedColormap.from_list("blues", ["#dcecf6", BLUE, "#003a5c"])
ORANGES = LinearSegmentedColormap.from_list("oranges", ["#fce8dc", ORANGE])
ROOT = PowerNorm(0.5, 0, 1)

MOST_COUNTS = 30
MOST_MISTAKES = 24
MOST_CELLS = 250
MOST_PIXELS = 64
COLUMNS = 6


@styled
def draw_confusion(matrix: Any, classes: Sequence[str]) -> Figure:
    """A confusion matrix: a row for each true class, a column for each prediction.

    What is right is blue, what is wrong is orange, and the darker, the larger its share
    of the row. The scale is that of a root, so that rare errors show beside a full
    diagonal. Counts are written for up to 30 classes. Of very many classes, neighbours
    share a cell, which shows the largest share among them.

    Args:
        matrix: Counts, int array `(classes, classes)`.
        classes: Names of the classes.

    Returns:
        `matplotlib.figure.Figure`.

    Example:

    >>> figure = draw_confusion([[9, 1], [0, 10]], ["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['9', '1', '10']
    """
    matrix = np.asarray(matrix)
    n = len(matrix)
    with_counts = n <= MOST_COUNTS
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    right = share * np.eye(n)

    places = range(0, n, 1 if with_counts else -(-n // 20))
    names = [_shorten(classes[i], 16) for i in places]
    cell = np.clip(4.5 / n, 0.3, 0.7) if with_counts else 6.5 / n  # inches
    side = cell * n + 0.7 + 0.1 * max(map(len, names))
    figure = Figure((side if with_counts else side + 1.2, side), layout="constrained")
    axes = figure.subplots()
    extent = (-0.5, n - 0.5, n - 0.5, -0.5)
    look = {"norm": ROOT, "interpolation": "nearest", "extent": extent}
    wrong = axes.imshow(_pool(share - right), cmap=ORANGES, **look)
    axes.imshow(_pool(right), cmap=BLUES, **look)
    if with_counts:
        _write_counts(axes, matrix, right, cell)
        _rule(axes, n)
    else:
        bar = figure.colorbar(wrong, ax=axes, shrink=0.8, aspect=30)
        bar.set_ticks([0.01, 0.05, 0.2, 0.5, 1], labels=["1", "5", "20", "50", "100"])
        bar.set_label("Wrong: share of the true class (%)")
        bar.outline.set_visible(False)
    _name_classes(axes, places, names)
    return figure


def _pool(share):
    """The largest share in each block, so that no error vanishes; nothing for none."""
    block = -(-len(share) // MOST_CELLS)
    padded = np.pad(share, (0, -len(share) % block))
    blocks = padded.reshape(len(padded) // block, block, -1, block)
    return np.ma.masked_equal(blocks.max(axis=(1, 3)), 0)


def _write_counts(axes, matrix, right, cell):
    """The counts that are not zero, in ink that is read on their cells' colours."""
    longest = len(str(matrix.max()))
    size = min(11, 72 * cell / (0.75 * max(longest, 2)))
    for i, j in zip(*np.nonzero(matrix), strict=True):
        ink = "white" if right[i, j] > 0.215 else "black"
        axes.text(
            j, i, str(matrix[i, j]), color=ink, size=size, ha="center", va="center"
        )


def _name_classes(axes, places, names):
    upright = max(map(len, names)) > 3
    axes.set_xticks(places, names, rotation=90 if upright else 0)
    axes.set_yticks(places, names)
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("True class")


def _rule(axes, n):
    """Lines between the cells, in place of ticks and a frame."""
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#dddddd", lw=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


@styled
def draw_mistakes(
    images: Any,
    truths: Any,
    predictions: Any,
    probabilities: Any,
    classes: Sequence[str],
    names: Sequence[str],
) -> Figure:
    """Up to 24 pictures that were misclassified, the most confident mistakes first.

    Args:
        images: uint8 array `(batch, height, width, channels)`, of 1 or 3 channels.
        truths: True classes, int `(batch,)`. Pictures that were predicted rightly are
            passed over.
        predictions: Predicted classes, int `(batch,)`.
        probabilities: What the model gave to its predictions, float `(batch,)`.
        classes: Names of the classes.
        names: What each picture is found by, such as its file's name.

    Returns:
        `matplotlib.figure.Figure`.

    Example:

    >>> images = np.zeros((2, 8, 8, 1), "uint8")
    >>> classes, names = ["cat", "dog"], ["1.png", "2.png"]
    >>> figure = draw_mistakes(images, [0, 1], [0, 0], [0.9, 0.87], classes, names)
    >>> figure.axes[0].get_title()
    'dog → cat (87 %)'
    """
    mistaken = np.flatnonzero(np.asarray(truths) != np.asarray(predictions))
    if not len(mistaken):
        return _draw_no_mistakes()
    order = np.argsort(-np.asarray(probabilities)[mistaken], kind="stable")
    shown = mistaken[order[:MOST_MISTAKES]]
    rows = -(-len(shown) // COLUMNS)
    short = [_hold_together(_shorten(name, 15)) for name in classes]
    longest = max(len(short[truths[i]] + short[predictions[i]]) for i in shown)
    space = " " if longest <= 8 else "\n"

    figure = Figure(
        (8.4, (1.85 if space == " " else 2.05) * rows), layout="constrained"
    )
    grid = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    for axes, i in zip(grid, shown, strict=False):
        axes.imshow(
            _thumbnail(images[i]),
            cmap="gray",
            vmin=0,
            vmax=255,
            interpolation="nearest",
        )
        axes.set_title(
            f"{short[truths[i]]} →{space}{short[predictions[i]]}{space}"
            f"({100 * probabilities[i]:.0f} %)",
            size=10,
        )
        axes.set_xlabel(_shorten(names[i], 18, keep_end=True), size=8, color=QUIET)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    return figure


def _draw_no_mistakes():
    figure = Figure((8.4, 2.2))
    figure.text(0.5, 0.62, "✓", size=48, color=GREEN, ha="center", va="center")
    text = "Not one mistake: every test picture was named rightly."
    figure.text(0.5, 0.2, text, size=15, ha="center", va="center")
    return figure


def _hold_together(name):
    """A name that reads from right to left, kept from turning the arrow round."""
    if any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in name):
        mark = "\N{LEFT-TO-RIGHT MARK}"
        return mark + name + mark
    return name


def _thumbnail(image):
    """A picture small enough that 24 of them make a small file."""
    image = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    image.thumbnail((MOST_PIXELS, MOST_PIXELS))
    return np.asarray(image)


@styled
def draw_comparison(compare: Mapping[str, Any]) -> Figure:
    """Each way of training as a row of dots, one a seed, with mean and deviation.

    Args:
        compare: Dict with `dataset`, `labels_per_class` and `arms`, each a dict with
            `title`, `accuracies` (fractions: one a seed, or one for an ensemble),
            `mean` and `sd`. The arms are drawn in the order given.

    Returns:
        `matplotlib.figure.Figure`.

    Example:

    >>> arm = {"title": "probe", "accuracies": [0.7, 0.9], "mean": 0.8, "sd": 0.141}
    >>> compare = {"dataset": "digits", "labels_per_class": 5, "arms": [arm]}
    >>> draw_comparison(compare).axes[0].texts[0].get_text()
    '80.0 ± 14.1 %'
    """
    arms = compare["arms"]
    figure = Figure((8.4, 0.55 * len(arms) + 1.5), layout="constrained")
    axes = figure.subplots()
    legend = {}
    for i, arm in enumerate(arms):
        dots, mean = 100 * np.array(arm["accuracies"]), 100 * arm["mean"]
        text, look = f"{mean:.1f} %", {"fmt": "D", "color": ORANGE, "ms": 6}
        if len(dots) > 1:
            sd = 100 * arm["sd"]
            text = f"{mean:.1f} ± {sd:.1f} %"
            heights = np.full(len(dots), i - 0.14)
            seeds = axes.scatter(dots, heights, 40, BLUE, alpha=0.6)
            bar = axes.errorbar(mean, i + 0.16, xerr=sd, capsize=4, lw=2, **look)
            legend = {"one seed": seeds, "mean ± standard deviation": bar}
        else:
            axes.errorbar(mean, i, **look)
        axes.text(1.02, i, text, va="center", transform=axes.get_yaxis_transform())
    titles = [textwrap.fill(_shorten(arm["title"], 70), 26) for arm in arms]
    axes.set_yticks(range(len(arms)), titles)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="both", color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("Test accuracy (%)")
    axes.set_title(_shorten(f"{compare['dataset']}, {_labels(compare)}", 70), size=11)
    figure.legend(
        legend.values(),
        legend.keys(),
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
    return figure


def _labels(compare):
    count = compare["labels_per_class"]
    return "all labels" if count is None else f"{count} labels a class"


def _shorten(text, most, keep_end=False):
    """Text in one line of so many letters at most, and letters that can be drawn."""
    text = " ".join(str(text).encode("utf-8", "replace").decode().split())
    if len(text) <= most:
        return text
    return "…" + text[1 - most :] if keep_end else text[: most - 1] + "…"
