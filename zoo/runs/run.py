"""A run: its folder made, its training done or resumed, its test written down."""

import functools
import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np

from hornbook.errors import InputError
from hornbook.files import atomic_write, sha256, write_json
from hornbook.progress import Progress
from hornbook.run_folder import check_new_folder, versions
from hornbook.zoo.data.arrays.examples import Found
from hornbook.zoo.data.dataset import Dataset, read_source
from hornbook.zoo.data.splits import draw_dataset
from hornbook.zoo.finetune import processes
from hornbook.zoo.finetune.views import picture_size
from hornbook.zoo.runs.config import RunConfig
from hornbook.zoo.runs.records import (
    CONFIG,
    HISTORY,
    METRICS,
    MODEL,
    is_complete,
    read_config,
    read_metrics,
    write_history,
)


def run(
    options: dict[str, Any],
    folder: str | Path,
    command: str = "",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Does what `hornbook finetune` does: reads, trains, tests, writes the report.

    Args:
        options: The names and values of the flags, such as
            `{"data": "folder:flowers", "epochs": 5}`.
        folder: Path of the run folder; must be absent or empty.
        command: What the user typed, for the record.
        progress: A `Progress`; silent by default.

    Returns:
        Dict as in metrics.json.

    Raises:
        InputError: before anything is written, if the run can't be done.
    """
    config = RunConfig.of(options)
    config, dataset = create(config, folder, command, progress)
    return _finish(folder, config, dataset, progress)


def resume(folder: str | Path, progress: Progress | None = None) -> dict[str, Any]:
    """Goes on with a run that was stopped, to the same bits.

    Args:
        folder: Path of the run folder.
        progress: A `Progress`; silent by default.

    Returns:
        Dict as in metrics.json.

    Raises:
        InputError: if the run can't be resumed exactly.
    """
    config, dataset = reopen(folder, progress)
    return _finish(folder, config, dataset, progress)


def _finish(folder, config, dataset, progress):
    from hornbook.zoo.runs.report import write_report

    if is_complete(folder):
        metrics = read_metrics(folder)
    else:
        metrics = execute(folder, config, dataset, progress)
    write_report(folder)
    return metrics


@functools.cache
def backbone_facts(
    backbone_id: str, image_size: int | None = None
) -> tuple[int, int, str, dict]:
    """What a run needs to know of a backbone before its data are read.

    Returns:
        The side of its pictures, their channels, a hash of its weights, and its card.

    Raises:
        InputError: if there is no such backbone, its weights can't be had, or it takes
            no pictures of one size.
    """
    from hornbook.zoo.finetune.as_backbone import open_of_size
    from hornbook.zoo.finetune.feature_cache import fingerprint_model
    from hornbook.zoo.finetune.training_data import takes_pictures

    backbone = open_of_size(backbone_id, image_size)
    if not takes_pictures(backbone):
        raise InputError(
            f"The backbone takes no pictures of one size. Received: {backbone_id} of "
            f"{backbone.model.input_shape}"
        )
    shape, card = backbone.model.input_shape, backbone.card
    weights_hash = card.get("sha256") or fingerprint_model(backbone.model)
    return shape[1], shape[3], weights_hash, card


def _facts(config):
    return backbone_facts(config.data.backbone, config.training.image_size)


def read_pictures(config: RunConfig, progress: Progress | None = None) -> Found:
    """Reads the pictures that a run asks for, at the size its backbone wants.

    Raises:
        InputError: if the data or the backbone can't be used.
    """
    side, channels, *_ = _facts(config)
    with (progress or Progress()).stage("read") as update:
        return read_source(
            config.data.data,
            size=picture_size(side) if config.training.random_crop else side,
            channels=channels,
            skip_unreadable=config.data.skip_unreadable,
            on_progress=lambda done, total: update(done, total=total),
        )


def draw_examples(config: RunConfig, found: Found) -> Dataset:
    """Draws the run's labelled examples from what its source holds.

    Raises:
        InputError: if there are too few.
    """
    return draw_dataset(
        config.data.data,
        found,
        labels_per_class=config.data.labels_per_class,
        seed=config.training.seed,
    )


def fingerprint(dataset: Dataset) -> str:
    """A hash of the pictures and labels that a run trains and tests on."""
    digest = hashlib.sha256()
    for part in (dataset.train, dataset.validation, dataset.test):
        if part is not None:
            for start in range(0, len(part), 1000):  # since they may be on disk
                digest.update(np.ascontiguousarray(part.images[start : start + 1000]))
            digest.update(np.ascontiguousarray(part.labels))
    return digest.hexdigest()


def create(
    config: RunConfig,
    folder: str | Path,
    command: str = "",
    progress: Progress | None = None,
) -> tuple[RunConfig, Dataset]:
    """Checks everything a run needs, then makes its folder.

    Of several processes the first one makes it.

    Args:
        config: A `RunConfig`.
        folder: Path of the run folder; must be absent or empty.
        command: What the user typed, for the record.
        progress: A `Progress`; silent by default.

    Returns:
        The config, with what the backbone's card says where it said nothing, and the
        data set.

    Raises:
        InputError: before anything is written, if the run can't be done.
    """
    from hornbook.zoo.finetune.distribution import find_devices
    from hornbook.zoo.finetune.start import with_card
    from hornbook.zoo.finetune.task import weights_by_number

    folder, writes = Path(folder), processes.is_first()
    if writes:
        check_new_folder(folder)
    side, channels, weights_hash, card = _facts(config)
    training = with_card(config.training, card)
    config = config.with_training(**{**vars(training), "image_size": side})
    find_devices(training.devices, training.batch_size)
    dataset = draw_examples(config, read_pictures(config, progress))
    counts = dict.fromkeys(dataset.classes, 1)
    weights_by_number(training.class_weight, dataset.classes, counts)
    if not writes:
        return config, dataset
    folder.mkdir(parents=True, exist_ok=True)
    lines = {
        **versions("numpy"),
        "command": command,
        **config.as_dict(),
        "weights_sha256": weights_hash,
        "data_sha256": fingerprint(dataset),
        "class_names": list(dataset.classes),
        "picture_size": dataset.train.images.shape[1],
        "image_size": side,
        "channels": channels,
    }
    write_json(folder / CONFIG, lines)
    return config, dataset


def reopen(
    folder: str | Path, progress: Progress | None = None
) -> tuple[RunConfig, Dataset]:
    """The config and the data of a run to go on with.

    Raises:
        InputError: if the data or the weights are not what they were.
    """
    lines = read_config(folder)
    config = RunConfig.from_dict(lines)
    dataset = draw_examples(config, read_pictures(config, progress))
    if fingerprint(dataset) != lines["data_sha256"]:
        raise InputError(
            f"The data has changed since the run began, so it can't be resumed "
            f"exactly; start a new run. Received: {config.data.data}"
        )
    if _facts(config)[2] != lines["weights_sha256"]:
        raise InputError(
            f"The backbone's weights have changed since the run began; start a new "
            f"run. Received: {config.data.backbone}"
        )
    return config, dataset


def execute(
    folder: str | Path,
    config: RunConfig,
    dataset: Dataset,
    progress: Progress | None = None,
) -> dict[str, Any] | None:
    """Trains, tests and writes everything but the report; goes on where it was.

    Several processes train; the first one does the rest.

    Args:
        folder: A run folder that `create` made.
        config: Its `RunConfig`.
        dataset: Its data.
        progress: A `Progress`; silent by default.

    Returns:
        The metrics, as in metrics.json; None for all but the first process.
    """
    from hornbook.zoo.finetune.callbacks import LossNotFinite
    from hornbook.zoo.finetune.inference_model import build_inference_model
    from hornbook.zoo.runs.score import score

    folder, progress = Path(folder), progress or Progress()
    start, writes = time.perf_counter(), processes.is_first()
    size, test_options = dataset.train.images.shape[1], config.test

    def save(classifier, name):
        if writes:
            model = build_inference_model(
                classifier, size, test_options.test_crops, test_options.merge
            )
            with atomic_write(folder / name) as new:
                model.save(new)

    try:
        tuned = train(config, dataset, folder / "state", progress)
    except LossNotFinite as error:
        save(error.classifier, "last_good.keras")
        raise InputError(
            f"{error}; the model after {error.epoch} good epochs of it is in "
            f"{folder / 'last_good.keras'}. A lower learning rate may help. "
            f"Received: learning_rate={config.training.learning_rate}"
        ) from error
    processes.leave()
    if not writes:
        return None
    save(tuned.classifier, MODEL)
    write_history(folder / HISTORY, tuned.history)
    seconds = dict(tuned.seconds)
    with progress.stage("test", 1) as update:
        clock = time.perf_counter()
        tested, probabilities = score(tuned.classifier, dataset.test, test_options)
        seconds["test"] = time.perf_counter() - clock
        update(1)
    _draw(folder, tuned.history, dataset, tested["confusion"], probabilities)
    phases = [row["phase"] for row in tuned.history]
    validation = dataset.validation
    metrics = {
        "counts": {
            "train": len(dataset.train.labels),
            "validation": None if validation is None else len(validation.labels),
            "test": len(dataset.test.labels),
        },
        "stopping": "fixed budget" if validation is None else "early stopping",
        "epochs_run": {phase: phases.count(phase) for phase in dict.fromkeys(phases)},
        "kept": tuned.kept,
        "learning_rate_found": tuned.learning_rate,
        **tested,
        "seconds": {**seconds, "total": time.perf_counter() - start},
        "notices": [*dataset.notices, *tuned.notices],
        "model_sha256": sha256(folder / MODEL),
    }
    write_json(folder / METRICS, metrics)
    return metrics


def train(
    config: RunConfig,
    dataset: Dataset,
    state: Path | None = None,
    progress: Progress | None = None,
    backbone: Any = None,
) -> Any:
    """Trains what a run asks for, by `fine_tune`.

    Args:
        config: A `RunConfig`.
        dataset: Its data.
        state: Folder for the state of training, or None.
        progress: A `Progress`; silent by default.
        backbone: A `Backbone` in place of the run's, or None.

    Returns:
        A `FineTuned`.
    """
    from hornbook.zoo.finetune.fine_tune import fine_tune

    images, validation = dataset.train.images, dataset.validation
    settings = vars(config.training)
    if backbone is not None:
        settings = {**settings, "image_size": None}  # it is built already
    if config.training.minutes is None:
        settings = {**settings, "backup_dir": state}
    # What does not fit in memory as pictures may not do so as features.
    cache = "memory"
    if state is not None and not isinstance(images, np.ndarray):
        cache = str(state / "features")
    return fine_tune(
        backbone or config.data.backbone,
        (images, dataset.train.labels),
        None if validation is None else (validation.images, validation.labels),
        class_names=dataset.classes,
        cache=cache,
        verbose=0,
        progress=progress,
        **settings,
    )


def _draw(folder, history, dataset, confusion, probabilities):
    """Draws the curves, the confusion matrix and the mistakes."""
    from hornbook.pages.curves import draw_curves
    from hornbook.pages.figures import save_figure
    from hornbook.zoo.runs.figures import draw_confusion, draw_mistakes

    test, classes = dataset.test, dataset.classes
    guesses = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(guesses != test.labels)
    figures = {
        "curves": draw_curves(history),
        "confusion": draw_confusion(np.asarray(confusion), classes),
        "mistakes": draw_mistakes(
            test.images[wrong],
            test.labels[wrong],
            guesses[wrong],
            probabilities[wrong, guesses[wrong]],
            classes,
            [test.names[place] for place in wrong],
        ),
    }
    for name, figure in figures.items():
        with atomic_write(folder / f"{name}.png") as new:
            save_figure(figure, new)
