"""Contact sheets of the images that look most and least like the other set."""

import numpy as np
from matplotlib.figure import Figure

from hornbook.pages.figures import styled
from hornbook.zoo.data.arrays.examples import Examples
from hornbook.zoo.shift.compare_datasets import Comparison

COLUMNS, ROWS = 12, 2


def extremes(comparison: Comparison) -> dict[str, Examples]:
    """The images to show.

    Args:
        comparison: A `Comparison`.

    Returns:
        Dict from titles to at most 24 `Examples` each, the most extreme first.
    """
    train, test = comparison.train, comparison.test
    ours = np.argsort(comparison.report.train_scores, kind="stable")
    theirs = np.argsort(comparison.report.test_scores, kind="stable")
    most = min(COLUMNS * ROWS, len(ours) // 2, len(theirs) // 2)
    return {
        "Training images most like the test set": train.take(ours[::-1][:most]),
        "Training images least like the test set": train.take(ours[:most]),
        "Test images least like the training set": test.take(theirs[::-1][:most]),
    }


@styled
def draw_contact_sheet(groups: dict[str, Examples]) -> Figure:
    """Draws groups of small images below each other.

    Args:
        groups: Dict from titles to `Examples`.

    Returns:
        `matplotlib.figure.Figure`.

    Example:

    >>> images = np.zeros((3, 8, 8, 1), "uint8")
    >>> three = Examples(images, np.zeros(3, int), ("a", "b", "c"))
    >>> len(draw_contact_sheet({"Three": three}).axes)
    1
    """
    heights = [_sheet(each.images).shape[0] for each in groups.values()]
    width = 8.4
    size = next(iter(groups.values())).images.shape[1]
    scale = width / (COLUMNS * (size + 2))
    figure = Figure((width, scale * sum(heights) + 0.45 * len(groups)))
    figure.set_layout_engine("constrained")
    grid = figure.subplots(len(groups), 1, squeeze=False, height_ratios=heights)
    for axes, (title, examples) in zip(grid.ravel(), groups.items(), strict=True):
        axes.imshow(
            _sheet(examples.images).squeeze(),
            cmap="gray",
            vmin=0,
            vmax=255,
            interpolation="nearest",
        )
        axes.set_title(title, size=11, loc="left")
        axes.set_axis_off()
    return figure


def _sheet(images: np.ndarray) -> np.ndarray:
    """Images side by side, in rows, on white."""
    count, height, width, channels = images.shape
    rows = -(-count // COLUMNS)
    tiles = np.full((rows * COLUMNS, height + 2, width + 2, channels), 255, "uint8")
    tiles[:count, 1:-1, 1:-1] = images
    tiles = tiles.reshape(rows, COLUMNS, height + 2, width + 2, channels)
    return tiles.swapaxes(1, 2).reshape(rows * (height + 2), -1, channels)
