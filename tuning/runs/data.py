"""The data of a search: to train on, to validate on, and to test on once."""

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hornbook.errors import InputError
from hornbook.progress import Progress
from hornbook.tuning.runs.settings import Settings
from hornbook.tuning.runs.space_file import SpaceFile

MARGIN = 4  # Pixels around a crop of 32, as in `hornbook finetune`.
SIZE = 32 + MARGIN
EMBEDDED = "tfds:hornbook_photo_digits"
HELD_OUT = 0.2  # The share of the examples that is set aside.

Part = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Data:
    """Labelled examples, in parts.

    Attributes:
        name: The spec that the data were read from, or a name for those of the space.
        train: Pair of arrays `(x, y)`.
        validation: Pair of arrays `(x, y)`; `None` with folds.
        test: Pair of arrays `(x, y)`, or `None`.
        class_names: Tuple of strings; empty if the targets are not classes.
        are_images: Whether `x` are uint8 images.
        notices: Tuple of sentences about what was done to the data.
    """

    name: str
    train: Part
    validation: Part | None
    test: Part | None
    class_names: tuple[str, ...]
    are_images: bool = False
    notices: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The sha256 of all examples."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            for array in part or ():
                digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()

    @property
    def counts(self) -> dict[str, int | None]:
        """The number of examples of each part."""
        parts = ("train", "validation", "test")
        found = {name: getattr(self, name) for name in parts}
        return {name: part and len(part[0]) for name, part in found.items()}


def read_data(
    settings: Settings, space: SpaceFile, progress: Progress | None = None
) -> Data:
    """Reads the data of a search, and sets aside the parts that are missing.

    Args:
        settings: The settings of the search.
        space: The search space.
        progress: A `hornbook.progress.Progress`; silent by default.

    Raises:
        InputError: If the data cannot be used.
    """
    given = None if settings.data else space.read_data()
    if given is not None:
        data = _from_space(given, space)
    elif (settings.data or "").startswith("csv:"):
        data = _from_table(settings)
    else:
        data = _from_images(settings, space, progress)
    if settings.folds:
        return _join(data)
    if data.validation is None:
        return _hold_out(data, settings.seed)
    return data


def _from_space(given: Mapping[str, Any], space: SpaceFile) -> Data:
    if "train" not in given:
        raise InputError(
            "`data()` of a search space must return a dict with a pair `(x, y)` for "
            f"'train'. Received: keys {sorted(given)}"
        )
    parts: dict[str, Any] = {
        name: tuple(map(np.asarray, given[name])) if given.get(name) else None
        for name in ("train", "validation", "test")
    }
    y = parts["train"][1]
    is_class = y.dtype.kind in "iu" and y.ndim == 1
    class_names = tuple(map(str, range(int(y.max()) + 1))) if is_class else ()
    return Data(f"the data of {space.name}", **parts, class_names=class_names)


def _from_images(
    settings: Settings, space: SpaceFile, progress: Progress | None
) -> Data:
    from hornbook.zoo.data.dataset import read_source
    from hornbook.zoo.data.splits import draw_dataset
    from hornbook.zoo.finetune.views import picture_size
    from hornbook.zoo.runs.run import backbone_facts

    spec, size, channels = settings.data or EMBEDDED, SIZE, 3
    if space.backbone is not None:
        # As `hornbook finetune` reads them.
        side, channels, *_ = backbone_facts(space.backbone)
        size = picture_size(side)
    with (progress or Progress()).stage("read") as update:
        found = read_source(
            spec,
            size=size,
            channels=channels,
            skip_unreadable=settings.skip_unreadable,
            on_progress=lambda done, total: update(done, total=total),
        )
    dataset = draw_dataset(
        spec, found, labels_per_class=settings.labels_per_class, seed=settings.seed
    )
    if dataset.validation is None and not settings.folds:
        folds = "" if space.backbone else ", or cross-validate with --folds 5"
        raise InputError(
            "A class has fewer than 10 labelled examples, which is too few to set some "
            f"aside for validation. Give more{folds}. Received: --data {spec}"
        )
    parts: dict[str, Any] = {
        name: part and (part.images, part.labels)
        for name in ("train", "validation", "test")
        for part in [getattr(dataset, name)]
    }
    return Data(
        spec,
        **parts,
        class_names=dataset.classes,
        are_images=True,
        notices=dataset.notices,
    )


def _from_table(settings: Settings) -> Data:
    """Numbers below a line of names; the last column is the class."""
    name = settings.data or ""
    path = Path(name.removeprefix("csv:"))
    try:
        with open(path, newline="", encoding="utf-8") as file:
            _, *rows = csv.reader(file)
        x = np.array([row[:-1] for row in rows], "float32")
        names = [row[-1] for row in rows]
    except (OSError, ValueError, IndexError) as error:
        raise InputError(
            "A table must be a CSV file with a line of names, then numbers, and the "
            f"class in the last column: {error}. Received: {path}"
        ) from error
    class_names, y = np.unique(names, return_inverse=True)
    if len(class_names) < 2 or np.bincount(y).min() < 5 or not np.isfinite(x).all():
        raise InputError(
            "A table needs at least two classes, at least five rows of each class, and "
            f"no empty cells. Received: {path}"
        )
    data = Data(name, (x, y), None, None, tuple(map(str, class_names)))
    train, test = _split(data.train, seed=0)
    notice = f"A fifth of the rows, {len(test[0])}, was set aside for the test."
    return replace(data, train=train, test=test, notices=(notice,))


def _hold_out(data: Data, seed: int) -> Data:
    train, validation = _split(data.train, seed, bool(data.class_names))
    notice = (
        f"A fifth of the examples, {len(validation[0])}, was set aside for validation."
    )
    notices = (*data.notices, notice)
    return replace(data, train=train, validation=validation, notices=notices)


def _split(part: Part, seed: int, stratified: bool = True) -> tuple[Part, Part]:
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
        raise InputError(
            f"The examples cannot be divided into two parts: {error}. "
            f"Received: {len(x)} examples"
        ) from error
    return tuple(found[::2]), tuple(found[1::2])


def _join(data: Data) -> Data:
    """Joins training and validation data, for a cross-validation over both."""
    if data.validation is None:
        return data
    pairs = zip(data.train, data.validation, strict=True)
    train = tuple(np.concatenate(pair) for pair in pairs)
    return replace(data, train=train, validation=None)
