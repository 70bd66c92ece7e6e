"""Compares the images of a test set with those of a training set.

They are compared by a backbone's features and by measures such as brightness.
"""

import contextlib
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hornbook.errors import InputError
from hornbook.progress import Progress
from hornbook.recipes.data.covariate_shift_weights import (
    CovariateShift,
    covariate_shift_weights,
)
from hornbook.recipes.data.detect_shift import ShiftReport, detect_shift
from hornbook.recipes.data.label_shift_weights import LabelShift, label_shift_weights
from hornbook.zoo.backbones.backbone import Backbone
from hornbook.zoo.backbones.open_backbone import open_backbone
from hornbook.zoo.data.arrays.decode import (
    UnreadableImage,
    image_extensions,
    read_image,
    shrink,
)
from hornbook.zoo.data.arrays.examples import Examples, Found
from hornbook.zoo.data.dataset import all_to_test, read_source
from hornbook.zoo.shift.measures import measure

ALPHA = 0.025  # of each of the two tests, 5 % for both together
AT_LEAST = 10  # images in each set
AT_MOST = 2000  # images of each set in the permutation test
FOLDS = 5
BATCH_SIZE = 64
ANY_SIZE = 224  # side in pixels for a backbone that takes images of any size


@dataclass(frozen=True, eq=False)
class Comparison:
    """Result of `compare_datasets`.

    Attributes:
        train: `Examples` of the training set that were compared.
        test: `Examples` of the test set that were compared. Their labels are not used.
        counts: Number of images in the training set and in the test set.
        names: Name of each image in the training set.
        classes: Names of the classes.
        report: A `ShiftReport` on the compared images.
        measures: The features in the report that have a name, such as brightness.
        covariate: A `CovariateShift` for all training images.
        label: A `LabelShift` for all training images, or `None`.
        notices: Sentences for the user.
    """

    train: Examples
    test: Examples
    counts: tuple[int, int]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    report: ShiftReport
    measures: tuple[Any, ...]
    covariate: CovariateShift
    label: LabelShift | None
    notices: tuple[str, ...]


def compare_datasets(
    train: str,
    test: str,
    backbone: str | os.PathLike,
    *,
    seed: int = 0,
    skip_unreadable: bool = False,
    safe_mode: bool = True,
    progress: Progress | None = None,
) -> Comparison:
    """Reads two sets of images and compares them.

    Images are resized to the input of the backbone. The classes of the test images are
    predicted by a logistic regression on the backbone's features, fitted to the
    training set; those of the training images by cross-validation. Labels of the test
    set are never used.

    Args:
        train: Training set, as "folder:PATH", "csv:FILE", "tfds:NAME" or "npz:FILE", of
            which the training split is used.
        test: Test set, given in the same way, of which the test split is used, or all
            images if there is none. "folder:PATH" may hold images without class
            folders.
        backbone: Id of a backbone, as for `open_backbone`.
        seed: Random seed for the images that are compared, the folds and the
            permutations.
        skip_unreadable: Whether to skip files that cannot be read.
        safe_mode: Whether to refuse a `.keras` file that carries code.
        progress: A `Progress`. Defaults to none.

    Returns:
        A `Comparison`.

    Raises:
        InputError: If the data or the backbone cannot be used.
    """
    progress = progress or Progress()
    if seed < 0:
        raise InputError(f"seed must be 0 or more. Received: seed={seed}")
    opened = open_backbone(backbone, safe_mode=safe_mode)
    height, width, channels = _image_shape(opened)
    options = {
        "size": max(height, width),
        "channels": channels,
        "skip_unreadable": skip_unreadable,
    }
    notices = []
    if opened.card["weights"] is None:
        notices.append(
            f"The backbone {opened.id} has random weights: its features mean little."
        )

    def read(spec: str, reader: Callable[..., Found], title: str) -> Found:
        with progress.stage(title) as update:
            found = reader(
                spec, **options, on_progress=lambda done, total: update(done, total)
            )
        notices.extend(f"{spec}: {notice}" for notice in found.notices)
        return found

    found = read(train, read_source, "read train")
    classes, trained = found.classes, found.splits["train"]
    tested = all_to_test(read(test, _read_any, "read test"))
    _check(trained, tested, train, test, notices)
    features = [
        compute_features(opened.model, examples.images, (height, width), progress)
        for examples in (trained, tested)
    ]
    with progress.stage("compare", 3) as update, _warnings_as(notices):
        predictions = _predict_classes(
            features[0], features[1], trained.labels, classes, seed, notices
        )
        update(1)
        covariate = covariate_shift_weights(*features, seed=seed)
        label = _label_shift(trained.labels, predictions, notices)
        update(2)
        chosen = [_choose(len(each), seed) for each in features]
        if any(len(each) > AT_MOST for each in features):
            notices.append(
                f"The permutation test compared at most {AT_MOST:,} images of each "
                "set, drawn at random."
            )
        compared = [
            examples.take(places)
            for examples, places in zip((trained, tested), chosen, strict=True)
        ]
        measures = [measure(examples.images) for examples in compared]
        embedded = [f"embedding {i}" for i in range(features[0].shape[1])]
        report = detect_shift(
            *(
                np.column_stack([*each.values(), feature[places]])
                for each, feature, places in zip(
                    measures, features, chosen, strict=True
                )
            ),
            feature_names=[*measures[0], *embedded],
            train_predictions=predictions and predictions[0],
            test_predictions=predictions and predictions[1],
            class_names=predictions and classes,
            n_permutations=99,
            alpha=ALPHA,
            seed=seed,
        )
        update(3)
    return Comparison(
        compared[0],
        compared[1],
        counts=(len(trained), len(tested)),
        names=trained.names,
        classes=classes,
        report=report,
        measures=tuple(each for each in report.features if each.name in measures[0]),
        covariate=covariate,
        label=label,
        notices=tuple(dict.fromkeys(notices)),
    )


def _image_shape(backbone: Backbone) -> tuple[int, int, int]:
    """Height, width and channels of the images that a backbone takes."""
    inputs = backbone.model.inputs
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise InputError(
            "Only a backbone for images can compare images. "
            f"Received: backbone={backbone.id}"
        )
    height, width, channels = inputs[0].shape[1:]
    return height or ANY_SIZE, width or ANY_SIZE, channels


def compute_features(
    model: keras.Model,
    images: np.ndarray,
    size: tuple[int, int],
    progress: Progress | None = None,
) -> np.ndarray:
    """Computes a model's features of images, batch by batch.

    Args:
        model: A `keras.Model` from raw pixels to features `(batch, n)`.
        images: uint8 array `(examples, height, width, channels)`, or `DiskImages`.
        size: Height and width that the model takes; images of another size are
            resized.
        progress: A `Progress`. Defaults to none.

    Returns:
        float32 array `(examples, n)`.

    Example:

    >>> mean = keras.layers.GlobalAveragePooling2D()
    >>> model = keras.Sequential([keras.Input((4, 4, 1)), mean])
    >>> compute_features(model, np.full((3, 8, 8, 1), 7, "uint8"), (4, 4)).tolist()
    [[7.0], [7.0], [7.0]]
    """
    features = []
    with (progress or Progress()).stage("features", len(images)) as update:
        for start in range(0, len(images), BATCH_SIZE):
            batch = images[start : start + BATCH_SIZE]
            if batch.shape[1:3] != tuple(size):
                batch = keras.ops.image.resize(
                    batch.astype("float32"), size, antialias=True
                )
            features.append(np.asarray(model.predict_on_batch(batch), "float32"))
            update(start + len(batch))
    return np.concatenate(features)


def _read_any(spec: str, **options: Any) -> Found:
    """Like `read_source`, but also reads a folder of images without class folders."""
    kind, _, place = spec.partition(":")
    folder = Path(place).expanduser()
    if kind != "folder" or not place or not folder.is_dir():
        return read_source(spec, **options)
    visible = [each for each in folder.iterdir() if not each.name.startswith(".")]
    files = sorted(
        each for each in visible if each.suffix.lower() in image_extensions()
    )
    if not files or any(each.is_dir() for each in visible):
        return read_source(spec, **options)
    return _read_flat(files, **options)


def _read_flat(
    files: list[Path],
    *,
    size: int,
    channels: int,
    skip_unreadable: bool,
    on_progress: Callable[[int, int], None],
) -> Found:
    pictures, names, bad = [], [], []
    for file in files:
        try:
            pictures.append(shrink(read_image(file, channels), size))
            names.append(file.name)
        except UnreadableImage as error:
            if not skip_unreadable:
                raise
            bad.append(f"{file.name} ({error.reason})")
        on_progress(len(names) + len(bad), len(files))
    images = np.array(pictures, "uint8").reshape(-1, size, size, channels)
    examples = Examples(images, np.zeros(len(names), "int64"), tuple(names))
    notices = (f"Skipped {', '.join(bad)}.",) if bad else ()
    return Found(("unlabelled",), {"test": examples}, notices=notices)


def _check(
    train: Examples,
    test: Examples,
    train_spec: str,
    test_spec: str,
    notices: list[str],
) -> None:
    for examples, spec in ((train, train_spec), (test, test_spec)):
        if len(examples) < AT_LEAST:
            raise InputError(
                f"Each set must have at least {AT_LEAST} images. "
                f"Received: {len(examples)} from {spec}"
            )
    seen = set(_digests(train.images))
    again = sum(digest in seen for digest in _digests(test.images))
    if again == len(test):
        raise InputError(
            "Every test image is in the training set too, so there is nothing to "
            f"compare. Received: --train {train_spec} --test {test_spec}"
        )
    if again:
        notices.append(
            f"{again} of {len(test):,} test images are in the training set too. That "
            "makes the sets look more alike, and any test score too high."
        )


def _digests(images: np.ndarray) -> Iterator[bytes]:
    """A hash of each image, so that the images need not be kept in memory."""
    for place in range(len(images)):
        yield hashlib.sha256(np.ascontiguousarray(images[place])).digest()


@contextlib.contextmanager
def _warnings_as(notices: list[str]) -> Iterator[None]:
    """Collects what the recipes warn about as notices."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        yield
    shown = (each for each in caught if each.category is UserWarning)
    notices.extend(str(each.message) for each in shown)


def _predict_classes(
    train: np.ndarray,
    test: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    seed: int,
    notices: list[str],
) -> tuple[np.ndarray, np.ndarray] | None:
    """Class probabilities of training images, cross-validated, and of test images."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    counts = np.bincount(labels, minlength=len(classes))
    if len(classes) < 2 or counts.min() < FOLDS:
        notices.append(
            "The class proportions were not compared: that takes at least two classes "
            f"with {FOLDS} training images each, and {classes[counts.argmin()]} has "
            f"{counts.min()}."
        )
        return None
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    held_out = cross_val_predict(probe, train, labels, cv=folds, method="predict_proba")
    return held_out, probe.fit(train, labels).predict_proba(test)


def _label_shift(
    labels: np.ndarray,
    predictions: tuple[np.ndarray, np.ndarray] | None,
    notices: list[str],
) -> LabelShift | None:
    if predictions is None:
        return None
    held_out, test = predictions
    try:
        return label_shift_weights(labels, test, (labels, held_out))
    except ValueError as error:  # a confusion matrix that cannot be inverted
        notices.append(
            f"The class proportions of the test set cannot be estimated. {error}"
        )
        return None


def _choose(count: int, seed: int) -> np.ndarray:
    """Indices of the images that the permutation test compares."""
    places = np.random.default_rng(seed).permutation(count)[:AT_MOST]
    return np.sort(places)
