"""A folder of `hornbook tune`: created, and opened again to continue."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from hornbook.errors import InputError
from hornbook.files import write_json
from hornbook.progress import Progress
from hornbook.run_folder import check_new_folder, versions
from hornbook.tuning.executors.protocol import Executor
from hornbook.tuning.runs.data import Data, read_data
from hornbook.tuning.runs.fixed import fix
from hornbook.tuning.runs.settings import Settings
from hornbook.tuning.runs.space_file import SpaceFile
from hornbook.tuning.search import tuners
from hornbook.tuning.search.coarse_to_fine import CoarseToFine
from hornbook.tuning.search.explore import explore
from hornbook.tuning.search.grid import coarsen
from hornbook.tuning.search.stages import STAGES
from hornbook.tuning.search.tuner import Tuner
from hornbook.tuning.trials.fine_tuning import FineTuning

CONFIG = "config.json"

PathLike = str | os.PathLike[str]


@dataclasses.dataclass
class SearchJob:
    """All that a search needs.

    Attributes:
        settings: The `Settings`.
        folder: Path of the folder.
        space: The `SpaceFile`.
        data: The `Data`.
        tuner: The search, which has not begun.
        arguments: Dict of the arguments of `tuner.search`.
    """

    settings: Settings
    folder: Path
    space: SpaceFile
    data: Data
    tuner: Tuner | CoarseToFine
    arguments: dict[str, Any]


def create(
    settings: Settings,
    folder: PathLike,
    command: str,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> SearchJob:
    """Checks all that a search needs, and then creates its folder.

    Args:
        settings: The `Settings`.
        folder: Path of the folder, which must be absent or empty.
        command: String, the command that the user typed, for the record.
        executor: Where trials run; `None` for this process.
        progress: A `hornbook.progress.Progress`; silent by default.

    Raises:
        InputError: Before anything is written, if the search is not possible.
    """
    folder = check_new_folder(folder)
    space = SpaceFile(settings.space)
    data = read_data(settings, space, progress)
    job = _assemble(settings, folder, space, data, executor)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        **versions("keras-tuner"),
        "command": command,
        **dataclasses.asdict(settings),
        "epochs": job.arguments["epochs"],
        "objective": job.tuner.oracle.objective.name,
        "data_name": data.name,
        "data_sha256": data.fingerprint,
        "counts": data.counts,
        "class_names": list(data.class_names),
        "are_images": data.are_images,
        "notices": list(data.notices),
    }
    write_json(folder / CONFIG, config)
    return job


def reopen(
    folder: PathLike,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> SearchJob:
    """Opens the search of a folder, to continue it.

    Args:
        folder: Path of a folder that `create` has made.
        executor: Where trials run; `None` for this process.
        progress: A `hornbook.progress.Progress`; silent by default.

    Raises:
        InputError: If it is not a folder of `hornbook tune`, or its data or search
            space have changed.
    """
    folder = Path(folder)
    config = read_config(folder)
    settings = Settings.from_config(config)
    space = SpaceFile(settings.space)
    data = read_data(settings, space, progress)
    if data.fingerprint != config["data_sha256"]:
        raise InputError(
            "The data have changed since the search began, so it cannot be continued; "
            f"start a new one. Received: {data.name}"
        )
    return _assemble(settings, folder, space, data, executor)


def read_config(folder: PathLike) -> dict[str, Any]:
    """Reads the config.json of a folder.

    Args:
        folder: Path of a folder that `create` has made.

    Raises:
        InputError: If the file is missing, or is not of a search.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise InputError(
            f"There is no search to continue in this folder. Received: {folder}"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        Settings.from_config(config)
        return config
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The config.json of the search cannot be read. Received: {path}"
        ) from error


def _assemble(
    settings: Settings,
    folder: PathLike,
    space: SpaceFile,
    data: Data,
    executor: Executor | None,
) -> SearchJob:
    x, y = space.prepare(data.train[0]), data.train[1]
    build = space.bound(x.shape[1:], len(data.class_names), settings.seed)
    model, found = _try(build, space)
    found = fix(found, settings.fixed)
    if isinstance(model, FineTuning) and (settings.folds or settings.executions > 1):
        raise InputError(
            "Every trial of this search space has the same seed and trains whole, so "
            "leave out --folds and --executions. "
            f"Received: folds={settings.folds}, executions={settings.executions}"
        )
    names = [each.name for each in found.space]
    epochs = settings.epochs or space.epochs
    arguments = {"x": x, "y": y, "epochs": epochs, "verbose": 0}
    if "batch_size" not in names:
        arguments["batch_size"] = settings.batch_size
    if data.validation is not None:
        x_validation, y_validation = data.validation
        arguments["validation_data"] = space.prepare(x_validation), y_validation
    metrics = model.get_compile_config()["metrics"] or ()
    objective = "val_accuracy" if "accuracy" in metrics else "val_loss"
    options = {
        "hyperparameters": found,
        "seed": settings.seed + 1,  # keras-tuner takes 0 for no seed.
        "directory": str(folder),
        "project_name": "search",
        "score": settings.rule,
        "folds": settings.folds,
        "executions_per_trial": settings.executions,
    }
    if executor is not None:
        options["executor"] = executor
    tuner = _make_tuner(settings, build, objective, epochs, options)
    return SearchJob(settings, Path(folder), space, data, tuner, arguments)


def _try(
    build: Callable[[Any], Any], space: SpaceFile
) -> tuple[keras.Model, keras_tuner.HyperParameters]:
    """The model of the default values, and the search space."""
    values = keras_tuner.HyperParameters()
    try:
        model = build(values)
        found = explore(build, "val_loss")
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"`build` of the search space fails: {type(error).__name__}: {error}. "
            f"Received: {space.path}"
        ) from error
    if not isinstance(model, keras.Model) or not model.compiled:
        raise InputError(
            "`build` of the search space must return a compiled model. "
            f"Received: {model!r}"
        )
    if not found.space:
        raise InputError(
            "`build` of the search space asks for no hyperparameters. "
            f"Received: {space.path}"
        )
    return model, found


def _make_tuner(
    settings: Settings,
    build: Callable[[Any], Any],
    objective: str,
    epochs: int,
    options: dict[str, Any],
) -> Tuner | CoarseToFine:
    trials = settings.trials
    if settings.search == "random":
        options["prune"] = settings.prune
        return tuners.RandomSearch(build, objective, max_trials=trials, **options)
    if settings.search == "grid":
        grid, points = coarsen(options["hyperparameters"], trials)
        options["hyperparameters"] = grid
        return tuners.GridSearch(build, objective, max_trials=points, **options)
    if settings.search == "bayesian":
        return tuners.BayesianOptimization(
            build, objective, max_trials=trials, **options
        )
    if settings.search == "hyperband":
        return tuners.Hyperband(build, objective, max_epochs=epochs, **options)
    stages = [
        dataclasses.replace(stage, search=kind)
        for stage, kind in zip(STAGES, settings.stages, strict=True)
    ]
    search = CoarseToFine(
        build,
        objective,
        max_trials=trials,
        stages=stages,
        find_learning_rate=settings.find_learning_rate,
        **options,
    )
    search.plan_for(epochs)
    return search


def describe(job: SearchJob) -> str:
    """Returns what will be searched, in a sentence.

    Args:
        job: A `SearchJob`.
    """
    counts, settings = job.data.counts, job.settings
    space = job.tuner.oracle.get_space().space
    validation = (
        f"{settings.folds} folds"
        if settings.folds
        else f"{counts['validation']:,} for validation"
    )
    epochs = job.arguments["epochs"]
    if isinstance(job.tuner, CoarseToFine):
        plan = ", then ".join(
            f"{stage['trials']} of {stage['epochs']} epochs ({stage['search']})"
            for stage in job.tuner.plan_for(epochs)
        )
    elif settings.search == "hyperband":
        plan = f"as many as fit, of at most {epochs} epochs"
    else:
        plan = f"{job.tuner.oracle.max_trials} of {epochs} epochs"
    return (
        f"{job.folder}: {settings.search} search of {job.space.name} over "
        f"{len(space)} hyperparameters, trials: {plan}. On {job.data.name}: "
        f"{counts['train']:,} examples to train on, {validation}."
    )
