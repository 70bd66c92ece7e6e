"""The splits of a data set: those of its source, and those that have to be drawn."""

from typing import Any

import numpy as np

from hornbook.errors import InputError
from hornbook.zoo.data.arrays.examples import Examples, Found
from hornbook.zoo.data.arrays.few_labels import draw_few
from hornbook.zoo.data.dataset import Dataset, read_source
from hornbook.zoo.data.near_duplicates import find_near_duplicates

HELD_OUT = 0.2  # of each class, for a test or a validation split
ENOUGH_TO_VALIDATE = 10  # labels in the smallest class
LISTED_DUPLICATES = 5  # pairs that are named in a notice


def load_dataset(
    spec: str, *, labels_per_class: int | None = None, seed: int = 0, **options: Any
) -> Dataset:
    """Reads a source and draws the splits that it lacks.

    Args:
        spec: "folder:PATH", "csv:FILE", "tfds:NAME" or "npz:FILE".
        labels_per_class: As for `draw_dataset`.
        seed: As for `draw_dataset`.
        **options: Further arguments of `read_source`: `size`, `channels`,
            `skip_unreadable` and `on_progress`.

    Returns:
        `Dataset`.

    Raises:
        InputError: If the data cannot be used, or there is too little of it.
    """
    found = read_source(spec, **options)
    return draw_dataset(spec, found, labels_per_class=labels_per_class, seed=seed)


def draw_dataset(
    spec: str, found: Found, *, labels_per_class: int | None = None, seed: int = 0
) -> Dataset:
    """Draws the splits that a source lacks.

    Without a test split, the validation split becomes the test split; without either,
    a fifth of each class is held out, the same for every seed. Then the labelled
    examples are drawn from the remaining training examples. If the source has no
    validation split and each class has at least 10 labels, a fifth of them is held out
    for validation.

    Args:
        spec: The spec that the source was read by.
        found: What `read_source` found.
        labels_per_class: Number of labelled examples to use of each class. Defaults to
            all.
        seed: Random seed for drawing the labelled and the validation examples.

    Returns:
        `Dataset`.

    Raises:
        InputError: If there is too little data.
    """
    if labels_per_class is not None and labels_per_class < 1:
        raise InputError(
            "Each class needs at least one label. Received: "
            f"labels_per_class={labels_per_class}"
        )
    notices = list(found.notices)
    if found.enlarged:
        total = sum(map(len, found.splits.values()))
        size = found.splits["train"].images.shape[1]
        notices.append(
            f"{found.enlarged} of {total} images are smaller than {size} pixels and "
            "were enlarged."
        )
    train, validation, test = _split_test(found, notices)
    if labels_per_class is not None:
        train = _draw(train, found.classes, labels_per_class, seed)
    train, validation = _split_validation(train, validation, seed, notices)
    if spec.startswith(("folder:", "csv:")):
        notices += _tell_duplicates(train, test)
    return Dataset(spec, found.classes, train, validation, test, tuple(notices))


def _tell_duplicates(train: Examples, test: Examples) -> list[str]:
    """A notice on near duplicates, if there are any."""
    pairs = find_near_duplicates(train.images, test.images)
    if not pairs:
        return []
    shown = [
        f"{test.names[b]} and {train.names[a]}" for a, b in pairs[:LISTED_DUPLICATES]
    ]
    more = ", ..." if len(pairs) > LISTED_DUPLICATES else ""
    return [
        f"{len(pairs)} of {len(test)} test images are nearly the same as a training "
        f"image, so the test score is too high: {', '.join(shown)}{more}."
    ]


def _split_test(
    found: Found, notices: list[str]
) -> tuple[Examples, Examples | None, Examples]:
    """The splits for training, for validation (may be `None`) and for the test."""
    train, classes = found.splits["train"], found.classes
    counts = np.bincount(train.labels, minlength=len(classes))
    if len(classes) < 2:
        raise InputError(
            "A classifier needs at least two classes. Received: only one class, "
            f"{classes[0]}"
        )
    validation, test = found.splits.get("validation"), found.splits.get("test")
    if test is None and validation is not None:
        notices.append(
            "There is no test split: the validation split is used as test split."
        )
        validation, test = None, validation
    needed = 1 if test is not None else 2
    if counts.min() < needed:
        what = (
            "one training example" if needed == 1 else "two examples, one for the test"
        )
        raise InputError(
            f"Each class needs at least {what}. Received: class "
            f"{classes[counts.argmin()]} with {counts.min()}"
        )
    if test is None:
        train, test = _hold_out(train, np.random.default_rng(0))
        notices.append(
            f"There is no test split: a fifth of each class, {len(test)} examples in "
            "total, was held out."
        )
    return train, validation, test


def _draw(
    train: Examples, classes: tuple[str, ...], labels_per_class: int, seed: int
) -> Examples:
    """The same number of examples of each class."""
    counts = np.bincount(train.labels, minlength=len(classes))
    if counts.min() < labels_per_class:
        raise InputError(
            f"Class {classes[counts.argmin()]} has {counts.min()} training labels. "
            f"Received: labels_per_class={labels_per_class}"
        )
    return train.take(np.sort(draw_few(train.labels, labels_per_class, seed)))


def _split_validation(
    train: Examples, validation: Examples | None, seed: int, notices: list[str]
) -> tuple[Examples, Examples | None]:
    """The splits for training and for validation, which may be `None`."""
    if validation is not None:
        return train, validation
    smallest = np.bincount(train.labels).min()
    if smallest < ENOUGH_TO_VALIDATE:
        notices.append(
            f"There is no validation split: with {smallest} labels in the smallest "
            "class, training has a fixed budget instead of early stopping."
        )
        return train, None
    count = len(train)
    train, validation = _hold_out(train, np.random.default_rng([seed, 1]))
    notices.append(
        f"There is no validation split: a fifth of each class, {len(validation)} of "
        f"the {count} labelled examples, was held out with seed {seed}."
    )
    return train, validation


def _hold_out(
    examples: Examples, rng: np.random.Generator
) -> tuple[Examples, Examples]:
    """Holds out a fifth of each class, at least one, which scikit-learn cannot promise.

    Returns:
        `(kept, held_out)`, both in their original order.
    """
    held = np.zeros(len(examples), bool)
    for label in np.unique(examples.labels):
        places = rng.permutation(np.flatnonzero(examples.labels == label))
        held[places[: max(1, round(HELD_OUT * len(places)))]] = True
    return examples.take(np.flatnonzero(~held)), examples.take(np.flatnonzero(held))
