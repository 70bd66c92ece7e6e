"""The examples that a search trains on, is scored on, and is tested on once."""

import csv
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hornbook.errors import InputError

MARGIN = 4  # Pixels around a crop of 32, as `hornbook finetune` has them.
SIZE = 32 + MARGIN
EMBEDDED = "tfds:hornbook_photo_digits"
HELD_OUT = 0.2


@dataclass(frozen=True, eq=False)
class Data:
    """Examples, whole and in parts.

    Attributes:
        name: The spec that it was read by, or the space's name.
        train: `(x, y)`.
        validation: `(x, y)`, or None with folds.
        test: `(x, y)`, or None.
        classes: Names of the classes.
        are_pictures: Whether x are uint8 pictures.
        notices: Sentences that tell what was done.
    """

    name: str
    train: tuple
    validation: tuple | None
    test: tuple | None
    classes: tuple
    are_pictures: bool = False
    notices: tuple = ()

    @property
    def fingerprint(self):
        """A hash of all examples."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            for array in part or ():
                digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()

    @property
    def counts(self):
        """How many examples there are, by part."""
        parts = ("train", "validation", "test")
        found = {name: getattr(self, name) for name in parts}
        return {name: part and len(part[0]) for name, part in found.items()}


def read_data(settings, space, progress=None):
    """Reads what the settings ask for, and draws the parts that it lacks.

    Args:
        settings: `Settings`.
        space: `SpaceFile`.
        progress: A `hornbook.progress.Progress`.

    Raises:
        InputError: if it can't be used.
    """
    given = None if settings.data else space.read_data()
    if given is not None:
        data = _from_space(given, space)
    elif (settings.data or "").startswith("csv:"):
        data = _from_table(settings)
    else:
        data = _from_pictures(settings, progress)
    if settings.folds:
        return _join(data)
    if data.validation is None:
        return _hold_out(data, settings.seed)
    return data


def _from_space(given, space):
    if "train" not in given:
        raise InputError(
            "`data` of a space returns a dict with `(x, y)` as 'train'. "
            f"Received: {sorted(given)}"
        )
    parts = {
        name: tuple(map(np.asarray, given[name])) if given.get(name) else None
        for name in ("train", "validation", "test")
    }
    y = parts["train"][1]
    is_class = y.dtype.kind in "iu" and y.ndim == 1
    classes = tuple(map(str, range(int(y.max()) + 1))) if is_class else ()
    return Data(f"{space.name}'s own data", **parts, classes=classes)


def _from_pictures(settings, progress):
    from hornbook.progress import Progress
    from hornbook.zoo.data.dataset import draw_dataset, read_source

    spec = settings.data or EMBEDDED
    with (progress or Progress()).stage("read") as update:
        found = read_source(
            spec,
            size=SIZE,
            channels=3,
            skip_unreadable=settings.skip_unreadable,
            on_progress=lambda done, total: update(done, total=total),
        )
    dataset = draw_dataset(
        spec, found, labels_per_class=settings.labels_per_class, seed=settings.seed
    )
    if dataset.validation is None and not settings.folds:
        raise InputError(
            "There are fewer than 10 labels in a class, too few to set some aside for "
            "validation: give more labels, or cross-validate with --folds 5. "
            f"Received: {settings.data or EMBEDDED}"
        )
    parts = {
        name: part and (part.images, part.labels)
        for name in ("train", "validation", "test")
        for part in [getattr(dataset, name)]
    }
    return Data(
        spec,
        **parts,
        classes=dataset.classes,
        are_pictures=True,
        notices=dataset.notices,
    )


def _from_table(settings):
    """Numbers with a line of names; the last column is the class."""
    path = Path(settings.data.removeprefix("csv:"))
    try:
        with open(path, newline="", encoding="utf-8") as file:
            _, *rows = csv.reader(file)
        x = np.array([row[:-1] for row in rows], "float32")
        names = [row[-1] for row in rows]
    except (OSError, ValueError, IndexError) as error:
        raise InputError(
            "A table is a CSV file with a line of names, numbers, and the class in the "
            f"last column: {error}. Received: {path}"
        ) from error
    classes, y = np.unique(names, return_inverse=True)
    if len(classes) < 2 or np.bincount(y).min() < 5 or not np.isfinite(x).all():
        raise InputError(
            "A table needs two classes or more, five rows of each, and no empty "
            f"cells. Received: {path}"
        )
    data = Data(settings.data, (x, y), None, None, tuple(map(str, classes)))
    train, test = _split(data.train, seed=0)
    told = f"A fifth of the rows, {len(test[0])}, was set aside for the test."
    return replace(data, train=train, test=test, notices=(told,))


def _hold_out(data, seed):
    train, validation = _split(data.train, seed, bool(data.classes))
    told = f"A fifth, {len(validation[0])} examples, was set aside for validation."
    notices = (*data.notices, told)
    return replace(data, train=train, validation=validation, notices=notices)


def _split(part, seed, stratified=True):
    from sklearn.model_selection import train_test_split

    x, y = part
    try:
        found = train_test_split(
            x,
            y,
            test_size=HELD_OUT,
            random_state=seed,
            stratify=y if stratified else None,
        )
    except ValueError as error:
        raise InputError(f"The examples cannot be divided: {error}.") from error
    return tuple(found[::2]), tuple(found[1::2])


def _join(data):
    """One part to train on, of which each fold is for validation once."""
    if data.validation is None:
        return data
    pairs = zip(data.train, data.validation, strict=True)
    train = tuple(np.concatenate(pair) for pair in pairs)
    return replace(data, train=train, validation=None)
