"""Compares a test set's pictures with a training set's, by a backbone's embedding."""

import contextlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hornbook.errors import InputError
from hornbook.progress import Progress
from hornbook.recipes.data.covariate_shift_weights import (
    CovariateShift,
    covariate_shift_weights,
)
from hornbook.recipes.data.detect_shift import ShiftReport, detect_shift
from hornbook.recipes.data.label_shift_weights import LabelShift, label_shift_weights
from hornbook.zoo.backbones.shipped_weights import (
    load_backbone,
    read_card,
    weights_path,
)
from hornbook.zoo.data.arrays.decode import (
    UnreadableImage,
    image_extensions,
    read_image,
    shrink,
)
from hornbook.zoo.data.arrays.examples import Examples, Found
from hornbook.zoo.data.dataset import all_to_test, read_source
from hornbook.zoo.shift.measures import measure

ALPHA = 0.025  # of each of two tests, so that both together err in 5 % of cases
AT_LEAST = 10  # pictures in each set
AT_MOST = 2000  # pictures of each set in the permutation test
FOLDS = 5


@dataclass(frozen=True, eq=False)
class Comparison:
    """What was found.

    Attributes:
        train: `Examples`, those of the training set that were compared.
        test: `Examples` of the test set that were compared; labels are not used.
        counts: How many pictures the two sets have in all.
        names: What each training picture is found by, all of them.
        classes: Names of the classes.
        report: A `ShiftReport` of the compared.
        measures: The features of the report that have names, those of a picture.
        covariate: A `CovariateShift` for all training pictures.
        label: A `LabelShift` for all training pictures, or None.
        notices: Sentences for the user.
    """

    train: Examples
    test: Examples
    counts: tuple[int, int]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    report: ShiftReport
    measures: tuple
    covariate: CovariateShift
    label: LabelShift | None
    notices: tuple[str, ...]


def compare(train, test, backbone, *, seed=0, skip_unreadable=False, progress=None):
    """Reads two sets of pictures and compares them.

    The classes of the test pictures are guessed by a logistic regression on the
    backbone's embedding, learned from the training set; those of the training
    pictures by the same, out of fold. Labels of the test set are never looked at.

    Args:
        train: "folder:PATH", "tfds:NAME" or "npz:FILE", of which the split to train on
            is taken.
        test: The same, of which the test split is taken, or all where there is none; or
            "folder:PATH" with pictures and no class folders.
        backbone: Id of the backbone, such as "glyphnet.letters_rgb".
        seed: Chooses what is compared, the folds and the permutations.
        skip_unreadable: Go on without files that can't be read.
        progress: A `Progress`; silent by default.

    Returns:
        A `Comparison`.

    Raises:
        InputError: if the data or the backbone can't be used.
    """
    progress = progress or Progress()
    if seed < 0:
        raise InputError(f"seed must be 0 or more. Received: seed={seed}")
    weights_path(backbone)
    size, _, channels = read_card(backbone)["input_shape"]
    options = {"size": size, "channels": channels, "skip_unreadable": skip_unreadable}
    notices = []

    def read(spec, reader, title):
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

    from hornbook.zoo.finetune.train import cache_features

    model = load_backbone(backbone)
    features = [
        cache_features(model, examples.images, at_most=1, progress=progress)[:, 0]
        for examples in (trained, tested)
    ]
    with progress.stage("compare", 3) as update, _told(notices):
        guesses = _guess(*features, trained.labels, classes, seed, notices)
        update(1)
        covariate = covariate_shift_weights(*features, seed=seed)
        label = _label_shift(trained.labels, guesses, notices)
        update(2)
        chosen = [_choose(len(each), seed) for each in features]
        if any(len(each) > AT_MOST for each in features):
            notices.append(
                f"The permutation test compared {AT_MOST:,} pictures of a set at most, "
                "drawn at random."
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
            train_predictions=guesses and guesses[0],
            test_predictions=guesses and guesses[1],
            class_names=guesses and classes,
            n_permutations=99,
            alpha=ALPHA,
            seed=seed,
        )
        update(3)
    return Comparison(
        *compared,
        counts=(len(trained), len(tested)),
        names=trained.names,
        classes=classes,
        report=report,
        measures=tuple(each for each in report.features if each.name in measures[0]),
        covariate=covariate,
        label=label,
        notices=tuple(dict.fromkeys(notices)),
    )


def _read_any(spec, **options):
    """`read_source`, and a folder of pictures that are in no class folders."""
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


def _read_flat(files, *, size, channels, skip_unreadable, on_progress):
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
    notices = (f"Left out {', '.join(bad)}.",) if bad else ()
    return Found(("unlabelled",), {"test": examples}, notices=notices)


def _check(train, test, train_spec, test_spec, notices):
    for examples, spec in ((train, train_spec), (test, test_spec)):
        if len(examples) < AT_LEAST:
            raise InputError(
                f"At least {AT_LEAST} pictures of each set are needed. "
                f"Received: {len(examples)} from {spec}"
            )
    seen = {image.tobytes() for image in train.images}
    again = sum(image.tobytes() in seen for image in test.images)
    if again == len(test):
        raise InputError(
            "Every test picture is a training picture too, so there is nothing to "
            f"compare. Received: --train {train_spec} --test {test_spec}"
        )
    if again:
        notices.append(
            f"{again} of {len(test):,} test pictures are training pictures too, which "
            "makes the sets look more alike, and any test score too good."
        )


@contextlib.contextmanager
def _told(notices):
    """Tells what the recipes warn of as notices."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        yield
    told = (each for each in caught if each.category is UserWarning)
    notices.extend(str(each.message) for each in told)


def _guess(train, test, labels, classes, seed, notices):
    """Probabilities for the training pictures, out of fold, and for the test's."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    counts = np.bincount(labels, minlength=len(classes))
    if len(classes) < 2 or counts.min() < FOLDS:
        notices.append(
            f"The mix of classes was not compared: that takes two classes of {FOLDS} "
            f"training pictures or more, and {classes[counts.argmin()]} has "
            f"{counts.min()}."
        )
        return None
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    held_out = cross_val_predict(probe, train, labels, cv=folds, method="predict_proba")
    return held_out, probe.fit(train, labels).predict_proba(test)


def _label_shift(labels, guesses, notices):
    if guesses is None:
        return None
    held_out, test = guesses
    try:
        return label_shift_weights(labels, test, (labels, held_out))
    except ValueError as error:  # a confusion matrix that can't be inverted
        notices.append(f"The test set's mix of classes can't be estimated. {error}")
        return None


def _choose(count, seed):
    """Places of the pictures that the permutation test compares."""
    places = np.random.default_rng(seed).permutation(count)[:AT_MOST]
    return np.sort(places)
