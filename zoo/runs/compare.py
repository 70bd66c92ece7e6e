"""Every arm over several seeds, each at its own rate, on the same examples."""

import json
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from hornbook.files import atomic_write, write_json
from hornbook.pages.figures import save_figure
from hornbook.progress import Progress
from hornbook.zoo.finetune.arms import ARMS
from hornbook.zoo.finetune.train import train_arm
from hornbook.zoo.runs import figures
from hornbook.zoo.runs.run import draw_job_data, read_job_source
from hornbook.zoo.runs.score import score

SEEDS = 5
BEST_KNOWN = "thaw"  # the arm that votes over crops and joins an ensemble


def compare_arms(folder, job, progress=None, seeds=SEEDS):
    """Trains and tests each arm with each seed; goes on where a killed call was.

    A seed draws other labelled examples and another training; the arms of one seed
    share their examples, so that they can be compared in pairs.

    Args:
        folder: A run folder; `compare/` in it keeps what is done.
        job: A `Job`; its seed is the first, its rates are not used: each arm has its
            own.
        progress: A `Progress`; silent by default.
        seeds: How many.

    Returns:
        Dict as in compare.json: the seeds, and of each arm its accuracies, their mean
        and standard deviation, its rate and its seconds.
    """
    folder, progress = Path(folder), progress or Progress()
    cells = folder / "compare"
    cells.mkdir(exist_ok=True)
    chosen = list(range(job.seed, job.seed + seeds))
    results = {name: [] for name in ARMS}
    found = read_job_source(job, progress)
    with progress.stage("compare", len(chosen) * len(ARMS)) as update:
        for place, seed in enumerate(chosen):
            seeded = replace(job, seed=seed)
            dataset = draw_job_data(seeded, found)
            for number, name in enumerate(ARMS):
                cell = _cell(cells / f"{name}-{seed}", name, seeded, dataset)
                results[name].append(cell)
                update(place * len(ARMS) + number + 1)
    compare = {
        "dataset": dataset.name,
        "labels_per_class": job.labels_per_class,
        "seeds": chosen,
        "arms": [_row(name, cells) for name, cells in results.items()],
    }
    compare["arms"] += _votes(results[BEST_KNOWN], dataset.test.labels, cells)
    with atomic_write(folder / "comparison.png") as new:
        save_figure(figures.draw_comparison(compare), new)
    write_json(folder / "compare.json", compare)
    return compare


def _cell(path, name, job, dataset):
    """One arm with one seed, trained and tested, or read if that was done before."""
    record = path.with_suffix(".json")
    if record.is_file():
        return json.loads(record.read_text(encoding="utf-8"))
    start = time.perf_counter()
    trained = train_arm(
        ARMS[name],
        dataset,
        job.backbone,
        epochs=job.epochs,
        batch_size=job.batch_size,
        seed=job.seed,
        augment=job.augment,
    )
    seconds = time.perf_counter() - start
    metrics, probabilities = score(trained.classifier, dataset.test, job)
    with atomic_write(path.with_suffix(".npy")) as new:
        np.save(new, probabilities)
    cell = {
        "path": path.with_suffix(".npy").name,
        "seconds": seconds,
        **metrics["test"],
    }
    write_json(record, cell)
    keras.utils.clear_session()
    return cell


def _row(name, cells):
    accuracies = [cell["single"]["accuracy"] for cell in cells]
    seconds = float(np.mean([cell["seconds"] for cell in cells]))
    return _arm(name, ARMS[name].title, ARMS[name].rate, accuracies, seconds)


def _arm(name, title, rate, accuracies, seconds=None):
    sd = float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None
    return {
        "name": name,
        "title": title,
        "rate": rate,
        "accuracies": accuracies,
        "mean": float(np.mean(accuracies)),
        "sd": sd,
        "seconds": seconds,
    }


def _votes(cells, labels, folder):
    """The best arm with a vote over crops, and the seeds as one ensemble."""
    if cells[0]["voted"] is None:
        return []
    voted = [cell["voted"]["accuracy"] for cell in cells]
    title, views = ARMS[BEST_KNOWN].title, cells[0]["voted"]["views"]
    members = [np.load(folder / cell["path"]) for cell in cells]
    right = np.mean(members, axis=0).argmax(axis=1) == labels
    return [
        _arm("vote", f"{title}, {views} crops vote", ARMS[BEST_KNOWN].rate, voted),
        _arm(
            "ensemble",
            f"{title}, the {len(cells)} seeds as one ensemble",
            None,
            [float(right.mean())],
        ),
    ]
