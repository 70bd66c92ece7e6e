"""A folder of `hornbook tune`: made, searched, resumed, and what is left in it."""

import dataclasses
import json
import platform
from importlib.metadata import version
from pathlib import Path

import keras
import keras_tuner

from hornbook.errors import InputError
from hornbook.files import write_json
from hornbook.tuning.runs.data import read_data
from hornbook.tuning.runs.fixed import fix
from hornbook.tuning.runs.settings import Settings
from hornbook.tuning.runs.space_file import SpaceFile
from hornbook.tuning.search import tuners
from hornbook.tuning.search.coarse_to_fine import STAGES, CoarseToFine, explore
from hornbook.tuning.search.grid import coarsen

CONFIG = "config.json"


@dataclasses.dataclass
class Job:
    """All that a search needs.

    Attributes:
        settings: `Settings`.
        folder: Its path.
        space: `SpaceFile`.
        data: `Data`.
        tuner: The search, which has not begun.
        arguments: Dict of what `tuner.search` is given.
    """

    settings: Settings
    folder: Path
    space: SpaceFile
    data: object
    tuner: object
    arguments: dict


def create(settings, folder, command, executor=None, progress=None):
    """Checks all that a search needs, then makes its folder.

    Args:
        settings: `Settings`.
        folder: Path of the folder; must be absent or empty.
        command: What the user typed, for the record.
        executor: Where trials are run; None for here.
        progress: A `hornbook.progress.Progress`.

    Returns:
        A `Job`.

    Raises:
        InputError: before anything is written, if it can't be done.
    """
    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(
            f"The folder is not empty; choose another --out, or go on with it by "
            f"--resume. Received: {folder}"
        )
    space = SpaceFile(settings.space)
    data = read_data(settings, space, progress)
    job = _assemble(settings, folder, space, data, executor)
    folder.mkdir(parents=True, exist_ok=True)
    backend = keras.backend.backend()
    packages = {name: version(name) for name in ("keras", "keras-tuner", backend)}
    config = {
        "hornbook": version("hornbook"),
        "versions": {**packages, "python": platform.python_version()},
        "backend": backend,
        "command": command,
        **dataclasses.asdict(settings),
        "epochs": job.arguments["epochs"],
        "objective": job.tuner.oracle.objective.name,
        "data_name": data.name,
        "data_sha256": data.fingerprint,
        "counts": data.counts,
        "classes": list(data.classes),
        "are_pictures": data.are_pictures,
        "notices": list(data.notices),
    }
    write_json(folder / CONFIG, config)
    return job


def reopen(folder, executor=None, progress=None):
    """The search of a folder, to go on with.

    Raises:
        InputError: if it is not a folder of `hornbook tune`, or its data or its space
            is not what it was.
    """
    folder = Path(folder)
    config = read_config(folder)
    settings = Settings.from_config(config)
    space = SpaceFile(settings.space)
    data = read_data(settings, space, progress)
    if data.fingerprint != config["data_sha256"]:
        raise InputError(
            "The data has changed since the search began, so it can't go on; start a "
            f"new one. Received: {data.name}"
        )
    return _assemble(settings, folder, space, data, executor)


def read_config(folder):
    """The config.json of a folder.

    Raises:
        InputError: if it is not there, or is another's.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise InputError(f"There is no search to go on with in {folder}.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        Settings.from_config(config)
        return config
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"The search's config.json can't be read: {path}") from error


def _assemble(settings, folder, space, data, executor):
    x, y = space.prepare(data.train[0]), data.train[1]
    build = space.bound(x.shape[1:], len(data.classes))
    model, found = _try(build, space)
    found = fix(found, settings.fixed)
    names = [each.name for each in found.space]
    epochs = settings.epochs or space.epochs
    arguments = {"x": x, "y": y, "epochs": epochs, "verbose": 0}
    if "batch_size" not in names:
        arguments["batch_size"] = settings.batch_size
    if data.validation is not None:
        x_held, y_held = data.validation
        arguments["validation_data"] = (space.prepare(x_held), y_held)
    metrics = model.get_compile_config()["metrics"] or ()
    objective = "val_accuracy" if "accuracy" in metrics else "val_loss"
    options = {
        "hyperparameters": found,
        "seed": settings.seed + 1,  # keras-tuner takes 0 for none.
        "directory": str(folder),
        "project_name": "search",
        "score": settings.rule,
        "folds": settings.folds,
        "executions_per_trial": settings.executions,
    }
    if executor is not None:
        options["executor"] = executor
    tuner = _make_tuner(settings, build, objective, epochs, options)
    return Job(settings, Path(folder), space, data, tuner, arguments)


def _try(build, space):
    """The model of the default values, and the space."""
    values = keras_tuner.HyperParameters()
    try:
        model = build(values)
        found = explore(build, "val_loss")
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"`build` of the space fails: {type(error).__name__}: {error}. "
            f"Received: {space.path}"
        ) from error
    if not isinstance(model, keras.Model) or not model.compiled:
        raise InputError(
            f"`build` of the space must return a compiled model. Received: {model!r}"
        )
    if not found.space:
        raise InputError(
            f"`build` of the space asks for no hyperparameters. Received: {space.path}"
        )
    return model, found


def _make_tuner(settings, build, objective, epochs, options):
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
        find_rate=settings.find_rate,
        **options,
    )
    search.plan_for(epochs)
    return search


def describe(job):
    """What will be searched, in a sentence."""
    counts, settings = job.data.counts, job.settings
    space = job.tuner.oracle.get_space().space
    held = (
        f"{settings.folds} folds"
        if settings.folds
        else f"{counts['validation']:,} for validation"
    )
    epochs = job.arguments["epochs"]
    if settings.search == "coarse-to-fine":
        plan = ", then ".join(
            f"{stage['trials']} of {stage['epochs']} epochs ({stage['search']})"
            for stage in job.tuner.plan_for(epochs)
        )
    elif settings.search == "hyperband":
        plan = f"as many as fit, of {epochs} epochs at most"
    else:
        plan = f"{job.tuner.oracle.max_trials} of {epochs} epochs"
    return (
        f"{job.folder}: {settings.search} search of {job.space.name} over "
        f"{len(space)} hyperparameters, trials: {plan}. On {job.data.name}: "
        f"{counts['train']:,} examples to train on, {held}."
    )
