"""Procedural backgrounds in colour, and glyphs drawn over them."""

import numpy as np
from PIL import Image, ImageDraw


def procedural_background(rng: np.random.Generator, size: int = 64) -> np.ndarray:
    """Smooth noise at several scales, sometimes with waves, shapes and grain.

    Args:
        rng: `numpy.random.Generator`.
        size: Side in pixels.

    Returns:
        uint8 array `(size, size, 3)`.

    Example:

    >>> procedural_background(np.random.default_rng(0)).shape
    (64, 64, 3)
    """
    picture = np.broadcast_to(rng.uniform(0, 255, 3), (size, size, 3))
    scales = rng.choice([2, 3, 5, 8, 16, 32], rng.integers(1, 4), replace=False)
    for nodes in scales:
        picture = picture + rng.uniform(5, 60) * _noise(rng, int(nodes), size)
    if rng.random() < 0.3:
        picture = picture + _waves(rng, size)
    if rng.random() < 0.4:
        picture = _shapes(rng, picture)
    if rng.random() < 0.6:  # photographs are paler than formulas
        grey = picture.mean(axis=-1, keepdims=True)
        picture = grey + (picture - grey) * rng.uniform(0, 0.8)
    picture = picture + rng.normal(0, rng.uniform(0, 10), picture.shape)
    return np.clip(picture, 0, 255).astype("uint8")


def _noise(rng: np.random.Generator, nodes: int, size: int) -> np.ndarray:
    """A coarse grid of one hue, or of many, scaled up smoothly."""
    if rng.random() < 0.6:
        grid = rng.normal(size=(nodes, nodes, 1)) * rng.normal(size=3)
    else:
        grid = rng.normal(size=(nodes, nodes, 3))
    channels = (Image.fromarray(grid[..., c].astype("float32")) for c in range(3))
    smooth = Image.Resampling.BICUBIC
    return np.stack([np.asarray(c.resize((size, size), smooth)) for c in channels], -1)


def _waves(rng: np.random.Generator, size: int) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    angle, frequency = rng.uniform(0, np.pi), rng.uniform(0.1, 1.2)
    wave = np.sin(frequency * (x * np.cos(angle) + y * np.sin(angle)))
    return 30 * wave[..., None] * rng.normal(size=3)


def _shapes(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    image = Image.fromarray(np.clip(picture, 0, 255).astype("uint8"))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 6)):
        x, y = np.sort(rng.integers(-10, len(picture) + 10, (2, 2)), axis=1).tolist()
        draw = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        colour = tuple(rng.integers(0, 256, 3).tolist())
        draw([x[0], y[0], x[1], y[1]], fill=colour)
    return np.asarray(image, "float64")


def lay_over(
    ink: np.ndarray, background: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draws glyphs over backgrounds: half by difference, half in a flat colour.

    Args:
        ink: uint8 array `(batch, height, width)`.
        background: uint8 array `(batch, height, width, 3)`.
        rng: `numpy.random.Generator`.

    Returns:
        uint8 array `(batch, height, width, 3)`.

    Example:

    >>> paper = np.full((2, 4, 4, 3), 200, "uint8")
    >>> blank = np.zeros((2, 4, 4), "uint8")
    >>> bool((lay_over(blank, paper, np.random.default_rng(0)) == paper).all())
    True
    """
    ink = ink[..., None].astype("float32")
    background = background.astype("float32")
    colour = rng.uniform(0, 255, (len(ink), 1, 1, 3)).astype("float32")
    flat = background + (colour - background) * (ink / 255)
    by_difference = rng.random((len(ink), 1, 1, 1)) < 0.5
    blended = np.where(by_difference, np.abs(background - ink), flat)
    return np.round(blended).astype("uint8")
