"""Data sets for fine-tuning: what they are, and reading them by their spec."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hornbook.errors import InputError
from hornbook.zoo.data.arrays.examples import Examples, Found
from hornbook.zoo.data.readers.csv import read_csv
from hornbook.zoo.data.readers.folder import read_folder
from hornbook.zoo.data.readers.npz import read_npz
from hornbook.zoo.data.readers.tfds import read_tfds

KINDS = ("folder", "csv", "tfds", "npz")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images to train on and to test on.

    Attributes:
        name: The spec it was loaded by.
        classes: Names of the classes; a label is an index into them.
        train: `Examples`.
        validation: `Examples`, or `None` if there are too few labels for it.
        test: `Examples`; they never depend on how many labels are trained on.
        notices: Sentences that tell the user what was done.
    """

    name: str
    classes: tuple[str, ...]
    train: Examples
    validation: Examples | None
    test: Examples
    notices: tuple[str, ...]


def read_source(
    spec: str,
    *,
    size: int,
    channels: int,
    skip_unreadable: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Reads images as small squares, in the splits of their source.

    Args:
        spec: "folder:PATH", "csv:FILE", "tfds:NAME" or "npz:FILE".
        size: Side of the squares in pixels.
        channels: 1 for grey, 3 for RGB.
        skip_unreadable: Whether to skip files that cannot be read.
        on_progress: Called with `(done, total)` after each image.

    Returns:
        `Found`.

    Raises:
        InputError: If the data cannot be used.
    """
    kind, _, place = spec.partition(":")
    if kind not in KINDS or not place:
        raise InputError(
            "Data must be given as folder:PATH, csv:FILE, tfds:NAME or npz:FILE. "
            f"Received: {spec}"
        )
    if kind in ("folder", "csv"):
        read = read_folder if kind == "folder" else read_csv
        return read(place, size, channels, on_progress, skip_unreadable=skip_unreadable)
    if kind == "tfds":
        return read_tfds(place, size, channels, on_progress)
    return read_npz(place, size, channels, on_progress)


def all_to_test(found: Found) -> Examples:
    """The examples of a source to test on: its test split, or all if it has none.

    Args:
        found: What `read_source` found.

    Returns:
        `Examples`.
    """
    splits = found.splits
    parts = [splits["test"]] if "test" in splits else list(splits.values())
    return Examples(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        sum((part.names for part in parts), ()),
    )
