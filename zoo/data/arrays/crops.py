"""Square crops of images in memory, for training and for cached features."""

import itertools
from typing import Any

import numpy as np


def crops_at(
    images: np.ndarray, tops: np.ndarray, lefts: np.ndarray, size: int
) -> np.ndarray:
    """One square of each image.

    Args:
        images: Array `(batch, height, width, ...)`.
        tops: Integer array `(batch,)`, the first row of each square.
        lefts: Integer array `(batch,)`, the first column.
        size: Side of a square in pixels.

    Returns:
        Array `(batch, size, size, ...)`.

    Example:

    >>> image = np.arange(9).reshape(1, 3, 3)
    >>> crops_at(image, np.array([1]), np.array([0]), 2).tolist()
    [[[3, 4], [6, 7]]]
    """
    span = np.arange(size)
    rows, columns = tops[:, None] + span, lefts[:, None] + span
    batch = np.arange(len(images))[:, None, None]
    return images[batch, rows[:, :, None], columns[:, None, :]]


def centre_crops(images: np.ndarray, size: int) -> np.ndarray:
    """The square in the middle of each image."""
    edge = (images.shape[1] - size) // 2
    return images[:, edge : edge + size, edge : edge + size]


class CentreCrops:
    """The squares in the middle of images, cropped when they are indexed.

    Args:
        images: Array `(examples, height, width, ...)`, or `DiskImages`.
        size: Side of a square in pixels.

    Example:

    >>> CentreCrops(np.zeros((5, 6, 6, 3)), 4)[[0, 2]].shape
    (2, 4, 4, 3)
    """

    def __init__(self, images: Any, size: int) -> None:
        self.images, self.size = images, size

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, places: Any) -> np.ndarray:
        return centre_crops(self.images[places], self.size)


def random_crops(
    images: np.ndarray, rng: np.random.Generator, size: int = 32
) -> np.ndarray:
    """A random square of each image, at a place of its own.

    Args:
        images: Array `(batch, height, width, ...)`.
        rng: `numpy.random.Generator`.
        size: Side of a square in pixels.

    Returns:
        Array `(batch, size, size, ...)`.
    """
    free = np.array(images.shape[1:3]) - size + 1
    tops, lefts = (rng.integers(0, n, len(images)) for n in free)
    return crops_at(images, tops, lefts, size)


def crop_places(margin: int, at_most: int) -> list[tuple[int, int]]:
    """Evenly spaced `(top, left)` positions for a crop that can move `margin` pixels.

    Args:
        margin: Pixels that the crop can move down or right.
        at_most: Largest number of positions to return; at least 1.

    Returns:
        List of `(top, left)`: every position if there are few enough, else a coarser
        square grid, down to the centre alone.

    Example:

    >>> crop_places(4, at_most=9)
    [(0, 0), (0, 2), (0, 4), (2, 0), (2, 2), (2, 4), (4, 0), (4, 2), (4, 4)]
    >>> crop_places(4, at_most=1), len(crop_places(4, at_most=100))
    ([(2, 2)], 25)
    """
    side = int(min(margin + 1, np.sqrt(at_most)))
    if side <= 1:
        return [(margin // 2, margin // 2)]
    steps = np.round(np.linspace(0, margin, side)).astype(int).tolist()
    return list(itertools.product(steps, steps))
