"""Scores finished runs, and their ensemble, on pictures they were not trained on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hornbook.errors import InputError
from hornbook.recipes.inference.voting_report import voting_report
from hornbook.stats import wilson_interval
from hornbook.zoo.data.dataset import all_to_test, read_source
from hornbook.zoo.data.splits import load_dataset
from hornbook.zoo.runs.ensemble import check_runs, open_ensemble
from hornbook.zoo.runs.load import load_run


def evaluate_run(
    folder: str | Path,
    spec: str | None = None,
    skip_unreadable: bool = False,
    safe_mode: bool = True,
) -> dict[str, Any]:
    """Scores one finished run, as `evaluate_runs` does several.

    Returns:
        Dict with `data`, `count`, `correct`, `accuracy` and Wilson's 95 % `interval`.
    """
    result = evaluate_runs([folder], spec, skip_unreadable, safe_mode=safe_mode)
    [run] = result["runs"]
    del run["run"]
    return {"data": result["data"], "count": result["count"], **run}


def evaluate_runs(
    folders: Sequence[str | Path],
    spec: str | None = None,
    skip_unreadable: bool = False,
    ensemble: bool = False,
    merge: str = "mean",
    weights: Sequence[float] | None = None,
    safe_mode: bool = True,
) -> dict[str, Any]:
    """Scores finished runs, and their ensemble, on pictures they were not trained on.

    The ensemble is compared with each of its members. To choose the best of them by
    the same pictures would favour that one by chance.

    Args:
        folders: Finished run folders, of the same classes.
        spec: "folder:PATH", "tfds:NAME" or "npz:FILE": its test split counts, or all of
            it where it has none. None for the test examples of the runs themselves.
        skip_unreadable: Leave out files that can't be read.
        ensemble: Whether to test them as one model too.
        merge: How its members' probabilities become one.
        weights: One number for each run, or None for equal ones.
        safe_mode: Whether to refuse a model that carries code.

    Returns:
        Dict with `data`, `count`, `runs` and `ensemble`. Each run has `run`, `correct`,
        `accuracy` and Wilson's 95 % `interval`, so has the ensemble, if wanted: with
        `merge` and `weights` in place of `run`. Then each run has `ensemble_gain` too,
        what `voting_report` says of the ensemble after that run.

    Raises:
        InputError: if the runs or the data can't be used, or a class is not the runs'.
    """
    folders = [Path(folder) for folder in folders]
    configs = check_runs(folders)
    voter = open_ensemble(folders, merge, weights, safe_mode) if ensemble else None
    models = [load_run(folder, safe_mode)[0] for folder in folders]
    spec, images, labels = _test_examples(configs, spec, skip_unreadable)

    def guess(model, config):
        best = model.predict(images, batch_size=50, verbose=0).argmax(axis=1)
        return np.array(config["class_names"])[best]

    guesses = [guess(*pair) for pair in zip(models, configs, strict=True)]
    runs = [
        {"run": str(folder), **_score(guessed == labels)}
        for folder, guessed in zip(folders, guesses, strict=True)
    ]
    together = None
    if voter is not None:
        voted = guess(voter, configs[0])
        together = {"merge": merge, "weights": weights, **_score(voted == labels)}
        for run, guessed in zip(runs, guesses, strict=True):
            right = guessed == labels, voted == labels
            run["ensemble_gain"] = voting_report(np.ones(len(labels)), *right)
    return {"data": spec, "count": len(labels), "runs": runs, "ensemble": together}


def _test_examples(configs, spec, skip_unreadable):
    """The spec, the pictures, and the names of their classes."""
    config = configs[0]
    specs = {each["data"] for each in configs}
    if spec is None and len(specs) > 1:
        raise InputError(
            "The runs are of different data; say by --data on which to test them. "
            f"Received: {', '.join(sorted(specs))}"
        )
    size = max(each["picture_size"] for each in configs)
    shape = {"size": size, "channels": config["channels"]}
    if spec is None or spec in specs:
        spec = spec or config["data"]
        skip_unreadable = skip_unreadable or any(
            each["skip_unreadable"] for each in configs
        )
        dataset = load_dataset(
            spec, **shape, seed=config["seed"], skip_unreadable=skip_unreadable
        )
        classes, examples = dataset.classes, dataset.test
    else:
        found = read_source(spec, **shape, skip_unreadable=skip_unreadable)
        classes, examples = found.classes, all_to_test(found)
    known = config["class_names"]
    if unknown := [name for name in classes if name not in known]:
        raise InputError(
            f"The model does not know {', '.join(unknown)}; it knows "
            f"{', '.join(known)}. Received: {spec}"
        )
    return spec, examples.images, np.array(classes)[examples.labels]


def _score(right):
    correct, count = int(right.sum()), len(right)
    interval = list(wilson_interval(correct, count))
    return {"correct": correct, "accuracy": correct / count, "interval": interval}
