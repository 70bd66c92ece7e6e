"""A run folder: made, filled, resumed, read again."""

import csv
import dataclasses
import functools
import hashlib
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from hornbook.errors import InputError
from hornbook.files import atomic_write, write_json
from hornbook.progress import Progress
from hornbook.zoo.backbones.shipped_weights import read_card, weight_ids, weights_path
from hornbook.zoo.runs.config import Job

MARGIN = 4  # pixels around a crop of 32
PIECES = ("config.json", "model.keras", "metrics.json", "history.csv")
HISTORY = (
    *("phase", "epoch", "loss", "accuracy", "val_loss", "val_accuracy"),
    *("learning_rate", "seconds"),
)


def free_folder(parent="runs"):
    """The first of runs/1, runs/2, ... that is not there yet."""
    number = 1
    while (Path(parent) / str(number)).exists():
        number += 1
    return Path(parent) / str(number)


@functools.cache
def backbone_facts(backbone_id):
    """The height and the channels of what a backbone takes, and its weights' hash.

    Raises:
        InputError: if there is no such backbone, its weights can't be had, or it takes
            no pictures.
    """
    if backbone_id in weight_ids():
        card = read_card(backbone_id)
        weights_path(backbone_id)  # which compares the hash
        height, _, channels = card["input_shape"]
        return height, channels, card["sha256"]
    from hornbook.zoo.backbones.open_backbone import open_backbone
    from hornbook.zoo.finetune.feature_cache import fingerprint_model

    model = open_backbone(backbone_id).model
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:]:
        raise InputError(
            f"The backbone takes no pictures of one size. Received: {backbone_id} of "
            f"{shape}"
        )
    return shape[1], shape[3], fingerprint_model(model)


def picture_size(crop):
    """The side of the pictures that crops are cut from, in pixels.

    Example:

    >>> picture_size(32), picture_size(224)
    (36, 252)
    """
    return crop + MARGIN * max(1, crop // 32)


def read_job_source(job, progress=None):
    """Reads the pictures that a job asks for, at the size its backbone wants.

    Raises:
        InputError: if the data or the backbone can't be used.
    """
    from hornbook.zoo.data.dataset import read_source

    height, channels = backbone_facts(job.backbone)[:2]
    with (progress or Progress()).stage("read") as update:
        return read_source(
            job.data,
            size=picture_size(height),
            channels=channels,
            skip_unreadable=job.skip_unreadable,
            on_progress=lambda done, total: update(done, total=total),
        )


def draw_job_data(job, found):
    """Draws the job's labelled examples from what its source holds.

    Raises:
        InputError: if there are too few.
    """
    from hornbook.zoo.data.dataset import draw_dataset

    return draw_dataset(
        job.data, found, labels_per_class=job.labels_per_class, seed=job.seed
    )


def fingerprint(dataset):
    """A hash of the pictures and labels that a run trains and tests on."""
    digest = hashlib.sha256()
    for part in (dataset.train, dataset.validation, dataset.test):
        if part is not None:
            for start in range(0, len(part), 1000):  # since they may be on disk
                digest.update(np.ascontiguousarray(part.images[start : start + 1000]))
            digest.update(np.ascontiguousarray(part.labels))
    return digest.hexdigest()


def create(job, folder, command, progress=None):
    """Checks everything a job needs, then makes its run folder.

    Of several processes the first one makes it.

    Args:
        job: A `Job`.
        folder: Path of the run folder; must be absent or empty.
        command: What the user typed, for the record.
        progress: A `Progress`; silent by default.

    Returns:
        The job, with its rate found if it is "auto", and the data set.

    Raises:
        InputError: before anything is written, if the job can't be done.
    """
    from hornbook.zoo.finetune import processes

    folder, writes = Path(folder), processes.is_first()
    if writes and (folder.is_file() or (folder.is_dir() and any(folder.iterdir()))):
        raise InputError(
            f"The run folder is not empty; choose another --out, or go on with it by "
            f"--resume. Received: {folder}"
        )
    crop, channels, weights_hash = backbone_facts(job.backbone)
    if job.devices > 1 or job.processes > 1:
        from hornbook.zoo.finetune.distribution import find_devices

        find_devices(job.devices, job.batch_size)
    dataset = draw_job_data(job, read_job_source(job, progress))
    found = {}
    if job.rate == "auto":
        from hornbook.zoo.finetune.train import RATE_FOUND_BY, find_rate

        rate = find_rate(dataset, job.backbone, job.batch_size, job.seed, progress)
        job = dataclasses.replace(job, rate=rate)
        found = {"rate_found_by": RATE_FOUND_BY}
    if not writes:
        return job, dataset
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        **_versions(),
        "command": command,
        **dataclasses.asdict(job),
        **found,
        "weights_sha256": weights_hash,
        "data_sha256": fingerprint(dataset),
        "classes": list(dataset.classes),
        "image_size": picture_size(crop),
        "crop": crop,
        "channels": channels,
    }
    write_json(folder / "config.json", config)
    return job, dataset


def _versions():
    import keras

    backend = keras.backend.backend()
    packages = {name: version(name) for name in ("keras", backend, "numpy")}
    packages["python"] = platform.python_version()
    return {"hornbook": version("hornbook"), "backend": backend, "versions": packages}


def read_config(folder):
    """The config.json of a run folder.

    Raises:
        InputError: if the folder or the file is not there, or is not a run's.
    """
    path = Path(folder) / "config.json"
    if not Path(folder).is_dir():
        raise InputError(f"There is no such run folder: {folder}")
    if not path.is_file():
        raise InputError(f"The run folder has no config.json: {folder}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        Job.from_config(config)
        return config
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"The run's config.json can't be read: {path}") from error


def is_complete(folder):
    """Whether a run has come to its end: but for the report, metrics.json is last."""
    return (Path(folder) / "metrics.json").is_file()


def reopen(folder, progress=None):
    """The job and the data of a run to go on with.

    Raises:
        InputError: if the data or the shipped weights are not what they were, or
            several processes can't go on with it.
    """
    from hornbook.zoo.finetune import processes

    config = read_config(folder)
    job = Job.from_config(config)
    if job.is_plain and processes.count() > 1:
        raise InputError(
            f"This run was begun by one process and trains in a way that can't be "
            f"shared; go on with it in one. Received: {folder}"
        )
    dataset = draw_job_data(job, read_job_source(job, progress))
    if fingerprint(dataset) != config["data_sha256"]:
        raise InputError(
            f"The data has changed since the run began, so it can't be resumed "
            f"exactly; start a new run. Received: {job.data}"
        )
    if backbone_facts(job.backbone)[2] != config["weights_sha256"]:
        raise InputError(
            f"The shipped weights have changed since the run began; start a new run. "
            f"Received: {job.backbone}"
        )
    return job, dataset


def execute(folder, job, dataset, progress=None):
    """Trains, tests and writes everything but the report; goes on where it was.

    Several processes train; the first one does the rest.

    Args:
        folder: A run folder that `create` made.
        job: Its job.
        dataset: Its data.
        progress: A `Progress`; silent by default.

    Returns:
        The metrics, as in metrics.json; None for all but the first process.
    """
    from hornbook.zoo.finetune import processes
    from hornbook.zoo.finetune.fit_phase import LossNotFinite
    from hornbook.zoo.finetune.inference_model import build_inference_model
    from hornbook.zoo.runs.score import score

    folder = Path(folder)
    progress = progress or Progress()
    start = time.perf_counter()
    size = dataset.train.images.shape[1]
    writes = processes.is_first()

    def save(classifier, name):
        if not writes:
            return
        model = build_inference_model(classifier, size, job.views, job.merge)
        with atomic_write(folder / name) as new:
            model.save(new)

    try:
        trained = train_job(job, dataset, folder / "state", progress)
    except LossNotFinite as error:
        save(error.classifier, "last_good.keras")
        raise InputError(
            f"{error}; the model after {error.epoch} good epochs of it is in "
            f"{folder / 'last_good.keras'}. A lower rate may help. "
            f"Received: rate={job.rate}"
        ) from error
    processes.leave()
    if not writes:
        return None
    save(trained.classifier, "model.keras")
    write_history(folder / "history.csv", trained.history)
    with progress.stage("test", 1) as update:
        clock = time.perf_counter()
        test, probabilities = score(trained.classifier, dataset.test, job)
        trained.seconds["test"] = time.perf_counter() - clock
        update(1)
    draw(folder, trained.history, dataset, test["confusion"], probabilities)
    phases = [row["phase"] for row in trained.history]
    validation = dataset.validation
    metrics = {
        "counts": {
            "train": len(dataset.train.labels),
            "validation": None if validation is None else len(validation.labels),
            "test": len(dataset.test.labels),
        },
        "stopping": "fixed budget" if validation is None else "early stopping",
        "epochs_run": {phase: phases.count(phase) for phase in dict.fromkeys(phases)},
        **test,
        "seconds": {**trained.seconds, "total": time.perf_counter() - start},
        "notices": list(dataset.notices),
    }
    write_json(folder / "metrics.json", metrics)
    return metrics


def train_job(job, dataset, state=None, progress=None):
    """Trains a job: the plain one as it was measured, any other by `fine_tune`.

    Returns:
        A `Trained`.
    """
    if job.is_plain:
        from hornbook.zoo.finetune.arms import head_then_all
        from hornbook.zoo.finetune.train import train_arm

        return train_arm(
            head_then_all(job.backbone_rate, job.rate),
            dataset,
            job.backbone,
            epochs=job.epochs,
            batch_size=job.batch_size,
            seed=job.seed,
            augment=job.augment,
            state=state,
            progress=progress,
        )
    from hornbook.zoo.finetune.train_any import train_any

    return train_any(job, dataset, state, progress)


def draw(folder, history, dataset, confusion, probabilities):
    """Draws the curves, the confusion matrix and the mistakes."""
    from hornbook.pages.figures import save_figure
    from hornbook.zoo.runs import figures

    test, classes = dataset.test, dataset.classes
    guesses = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(guesses != test.labels)
    mistakes = figures.draw_mistakes(
        test.images[wrong],
        test.labels[wrong],
        guesses[wrong],
        probabilities[wrong, guesses[wrong]],
        classes,
        [test.names[place] for place in wrong],
    )
    drawn = {
        "curves": figures.draw_curves(history),
        "confusion": figures.draw_confusion(np.asarray(confusion), classes),
        "mistakes": mistakes,
    }
    for name, figure in drawn.items():
        with atomic_write(folder / f"{name}.png") as new:
            save_figure(figure, new)


def write_history(path, rows):
    """Writes one line an epoch; what was not measured is left empty."""
    with (
        atomic_write(path) as new,
        open(new, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, HISTORY, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def open_model(folder):
    """The model and the config of a finished run.

    Raises:
        InputError: if a piece is missing, or the model file is damaged.
    """
    folder = Path(folder)
    config = read_config(folder)
    missing = [name for name in PIECES if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"The run folder lacks {', '.join(missing)}; finish the run with "
            f"`hornbook finetune --resume {folder}`."
        )
    import keras

    import hornbook.recipes  # noqa: F401  (registers the layers that vote)

    try:
        return keras.models.load_model(folder / "model.keras"), config
    except Exception as error:
        raise InputError(
            f"The model file is damaged and can't be opened: {folder / 'model.keras'} "
            f"({type(error).__name__})"
        ) from error


def read_metrics(folder):
    """The metrics.json of a run that has come to its end."""
    return json.loads((Path(folder) / "metrics.json").read_text(encoding="utf-8"))
