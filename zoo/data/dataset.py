"""Data sets for fine-tuning: from folders, lists, TFDS and `.npz` files."""

from dataclasses import dataclass

import numpy as np

from hornbook.errors import InputError
from hornbook.zoo.data.arrays.examples import Examples
from hornbook.zoo.data.arrays.few_labels import draw_few
from hornbook.zoo.data.near_duplicates import find_near_duplicates
from hornbook.zoo.data.readers.csv import read_csv
from hornbook.zoo.data.readers.folder import read_folder
from hornbook.zoo.data.readers.npz import read_npz
from hornbook.zoo.data.readers.tfds import read_tfds

HELD_OUT = 0.2  # of each class, for a test or a validation split
ENOUGH_TO_VALIDATE = 10  # labels in the smallest class
DUPLICATES = 5  # pairs that are named


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pictures to train on and to test on.

    Attributes:
        name: The spec it was loaded by.
        classes: The classes' names; a label is a place among them.
        train: `Examples`.
        validation: `Examples`, or None where labels are too few for that.
        test: `Examples`; they never depend on how many labels are trained on.
        notices: Sentences that tell the user what was done.
    """

    name: str
    classes: tuple[str, ...]
    train: Examples
    validation: Examples | None
    test: Examples
    notices: tuple[str, ...]


def read_source(spec, *, size, channels, skip_unreadable=False, on_progress=None):
    """Reads pictures as small squares, as their source splits them.

    Args:
        spec: "folder:PATH", "csv:FILE", "tfds:NAME" or "npz:FILE".
        size: Side of the pictures in pixels.
        channels: 1 for grey, 3 for RGB.
        skip_unreadable: Go on without the files of a folder that can't be read.
        on_progress: Called with `(done, total)` after each picture.

    Returns:
        `Found`.

    Raises:
        InputError: if the data can't be used.
    """
    kind, _, place = spec.partition(":")
    if kind not in ("folder", "csv", "tfds", "npz") or not place:
        raise InputError(
            f"Data is given as folder:PATH, csv:FILE, tfds:NAME or npz:FILE. "
            f"Received: {spec}"
        )
    if kind in ("folder", "csv"):
        read = read_folder if kind == "folder" else read_csv
        return read(place, size, channels, on_progress, skip_unreadable=skip_unreadable)
    if kind == "tfds":
        return read_tfds(place, size, channels, on_progress)
    return read_npz(place, size, channels, on_progress)


def draw_dataset(spec, found, *, labels_per_class=None, seed=0):
    """Draws the splits that a source lacks.

    Without a test split, the validation split is the test, else a fifth of each class
    is set aside, the same for every seed. Then the labelled examples are drawn from
    what is left to train on. Then, if the source has no validation split and each
    class has 10 of them or more, a fifth of those is for validation.

    Args:
        spec: What the source was read by.
        found: What `read_source` found.
        labels_per_class: Labelled examples of each class to use; None for all.
        seed: Chooses the labelled examples and those for validation.

    Returns:
        `Dataset`.

    Raises:
        InputError: if there is too little for what is asked.
    """
    if labels_per_class is not None and labels_per_class < 1:
        raise InputError(
            f"At least one label a class is needed. Received: "
            f"labels_per_class={labels_per_class}"
        )
    notices = list(found.notices)
    if found.enlarged:
        total = sum(map(len, found.splits.values()))
        size = found.splits["train"].images.shape[1]
        notices.append(
            f"{found.enlarged} of {total} pictures are smaller than {size} pixels and "
            f"were enlarged."
        )
    train, validation, test = _split_test(found, notices)
    if labels_per_class is not None:
        train = _draw(train, found.classes, labels_per_class, seed)
    train, validation = _split_validation(train, validation, seed, notices)
    if spec.startswith(("folder:", "csv:")):
        notices += _tell_duplicates(train, test)
    return Dataset(spec, found.classes, train, validation, test, tuple(notices))


def _tell_duplicates(train, test):
    pairs = find_near_duplicates(train.images, test.images)
    if not pairs:
        return []
    shown = [f"{test.names[b]} and {train.names[a]}" for a, b in pairs[:DUPLICATES]]
    more = ", ..." if len(pairs) > DUPLICATES else ""
    return [
        f"{len(pairs)} of {len(test)} test pictures are nearly the same as one that is "
        f"trained on, so the test flatters: {', '.join(shown)}{more}."
    ]


def load_dataset(spec, *, labels_per_class=None, seed=0, **options):
    """Reads a source and draws the splits it lacks.

    Args:
        spec: "folder:PATH", "csv:FILE", "tfds:NAME" or "npz:FILE".
        labels_per_class: As for `draw_dataset`.
        seed: As for `draw_dataset`.
        **options: `size`, `channels`, `skip_unreadable` and `on_progress`, for
            `read_source`.

    Returns:
        `Dataset`.

    Raises:
        InputError: if the data can't be used, or is too little for what is asked.
    """
    found = read_source(spec, **options)
    return draw_dataset(spec, found, labels_per_class=labels_per_class, seed=seed)


def all_to_test(found):
    """What a source has to test on: its test split, else everything.

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


def _split_test(found, notices):
    """The three splits; only validation can be None."""
    train, classes = found.splits["train"], found.classes
    counts = np.bincount(train.labels, minlength=len(classes))
    if len(classes) < 2:
        raise InputError(
            f"There is only one class, {classes[0]}: a classifier needs two or more."
        )
    validation, test = found.splits.get("validation"), found.splits.get("test")
    if test is None and validation is not None:
        notices.append("There is no test split: the validation split is the test.")
        validation, test = None, validation
    needed = 1 if test is not None else 2
    if counts.min() < needed:
        raise InputError(
            f"Class {classes[counts.argmin()]} has {counts.min()} example"
            f"{'' if counts.min() == 1 else 's'} to train on"
            f"{'' if needed == 1 else ' and to test on, so it needs at least two'}."
        )
    if test is None:
        train, test = _hold_out(train, np.random.default_rng(0))
        notices.append(
            f"There is no test split: a fifth of each class, {len(test)} examples in "
            f"all, was set aside."
        )
    return train, validation, test


def _draw(train, classes, labels_per_class, seed):
    """The same number of examples of each class."""
    counts = np.bincount(train.labels, minlength=len(classes))
    if counts.min() < labels_per_class:
        raise InputError(
            f"Class {classes[counts.argmin()]} has {counts.min()} labels to train on. "
            f"Received: labels_per_class={labels_per_class}"
        )
    return train.take(np.sort(draw_few(train.labels, labels_per_class, seed)))


def _split_validation(train, validation, seed, notices):
    if validation is not None:
        return train, validation
    smallest = np.bincount(train.labels).min()
    if smallest < ENOUGH_TO_VALIDATE:
        notices.append(
            f"There is no validation split: with {smallest} labels in the smallest "
            f"class, training has a fixed budget instead of early stopping."
        )
        return train, None
    count = len(train)
    train, validation = _hold_out(train, np.random.default_rng([seed, 1]))
    notices.append(
        f"There is no validation split: a fifth of each class, {len(validation)} of "
        f"the {count} labelled examples, was set aside for it by seed {seed}."
    )
    return train, validation


def _hold_out(examples, rng):
    """Sets a fifth of each class aside, at least one, which scikit-learn can't promise.

    Returns:
        `(kept, held)`, both in the order they had.
    """
    held = np.zeros(len(examples), bool)
    for label in np.unique(examples.labels):
        places = rng.permutation(np.flatnonzero(examples.labels == label))
        held[places[: max(1, round(HELD_OUT * len(places)))]] = True
    return examples.take(np.flatnonzero(~held)), examples.take(np.flatnonzero(held))
