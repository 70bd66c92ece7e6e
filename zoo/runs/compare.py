"""Every way to train over several seeds, each at its own rate, on the same examples."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hornbook.files import atomic_write, write_json
from hornbook.pages.figures import save_figure
from hornbook.progress import Progress
from hornbook.zoo.backbones.open_backbone import open_backbone
from hornbook.zoo.data.dataset import Dataset
from hornbook.zoo.finetune.fine_tuned import FineTuned
from hornbook.zoo.runs import figures
from hornbook.zoo.runs.config import RunConfig
from hornbook.zoo.runs.run import (
    backbone_facts,
    draw_examples,
    read_pictures,
    train,
)
from hornbook.zoo.runs.score import score

SEEDS = 5
BEST_KNOWN = "head_then_all"  # which votes over crops and joins an ensemble
MEASURED_ON = "glyphnet"  # the family for which the rates below were chosen


@dataclass(frozen=True)
class Arm:
    """One way to train a classifier.

    Attributes:
        title: What it does, in words.
        settings: Fields of `Settings`. The learning rate was chosen on training digits
            that the few labels left over, never on the test set:
            `studies/finetune_rates.py`.
        pretrained: Whether the backbone starts from the shipped weights.
    """

    title: str
    settings: dict[str, Any]
    pretrained: bool = True


ARMS = {
    "scratch": Arm(
        "from scratch",
        {"strategy": "full", "backbone_lr_multiplier": 1.0, "learning_rate": 3e-2},
        pretrained=False,
    ),
    "linear_probe": Arm(
        "frozen backbone, head only",
        {"strategy": "linear_probe", "learning_rate": 1e-2, "batchnorm": "frozen"},
    ),
    "full": Arm(
        "everything at the same rate",
        {"strategy": "full", "backbone_lr_multiplier": 1.0, "learning_rate": 3e-3},
    ),
    "full_slow": Arm(
        "backbone at 0.1 of the rate",
        {"strategy": "full", "backbone_lr_multiplier": 0.1, "learning_rate": 3e-2},
    ),
    "head_then_all": Arm(
        "head first, then all at 0.1 of the rate",
        {
            "strategy": "head_then_all",
            "backbone_lr_multiplier": 0.1,
            "learning_rate": 3e-2,
        },
    ),
}


def with_arm(config: RunConfig, name: str) -> RunConfig:
    """The run, trained by one of the arms.

    The rates were chosen for the GlyphNets; every arm of another backbone has the
    run's own.
    """
    settings = {"freeze_epochs": None, **ARMS[name].settings}
    if backbone_facts(config.data.backbone)[3].get("family") != MEASURED_ON:
        settings["learning_rate"] = config.training.learning_rate
    if config.training.batchnorm == "frozen" and "batchnorm" not in settings:
        settings["batchnorm"] = "frozen"
    return config.with_training(**settings)


def compare_arms(
    folder: str | Path,
    config: RunConfig,
    progress: Progress | None = None,
    seeds: int = SEEDS,
) -> dict[str, Any]:
    """Trains and tests each arm with each seed; goes on where a killed call was.

    A seed draws other labelled examples and another training; the arms of one seed
    share their examples, so that they can be compared in pairs.

    Args:
        folder: A run folder; `compare/` in it keeps what is done.
        config: A `RunConfig`; its seed is the first. Each arm has its own strategy and,
            for the GlyphNets, its own rate.
        progress: A `Progress`; silent by default.
        seeds: How many.

    Returns:
        Dict as in compare.json: the seeds, and of each arm its accuracies, their mean
        and standard deviation, its rate and its seconds.
    """
    folder, progress = Path(folder), progress or Progress()
    cells = folder / "compare"
    cells.mkdir(exist_ok=True)
    chosen = list(range(config.training.seed, config.training.seed + seeds))
    results: dict[str, list[Any]] = {name: [] for name in ARMS}
    found = read_pictures(config, progress)
    with progress.stage("compare", len(chosen) * len(ARMS)) as update:
        for place, seed in enumerate(chosen):
            seeded = config.with_training(seed=seed)
            dataset = draw_examples(seeded, found)
            for number, name in enumerate(ARMS):
                cell = _cell(cells / f"{name}-{seed}", name, seeded, dataset)
                results[name].append(cell)
                update(place * len(ARMS) + number + 1)
    compare = {
        "dataset": dataset.name,
        "labels_per_class": config.data.labels_per_class,
        "seeds": chosen,
        "arms": [_row(name, cells, config) for name, cells in results.items()],
    }
    compare["arms"] += _votes(results[BEST_KNOWN], dataset.test.labels, cells, config)
    with atomic_write(folder / "comparison.png") as new:
        save_figure(figures.draw_comparison(compare), new)
    write_json(folder / "compare.json", compare)
    return compare


def train_arm(
    config: RunConfig, name: str, dataset: Dataset, **changes: Any
) -> FineTuned:
    """Trains a run's examples by one of the arms.

    Args:
        config: A `RunConfig`.
        name: A key of `ARMS`.
        dataset: The run's data.
        **changes: Fields of `Settings` that are not the arm's.

    Returns:
        A `FineTuned`.
    """
    backbone = None
    if not ARMS[name].pretrained:
        keras.utils.set_random_seed(config.training.seed)
        id, size = config.data.backbone, config.training.image_size
        side, channels, *_ = backbone_facts(id, size)
        shape = (side, side, channels)
        backbone = open_backbone(id, input_shape=shape, weights=None)
    config = with_arm(config, name).with_training(**changes)
    return train(config, dataset, backbone=backbone)


def _cell(path, name, config, dataset):
    """One arm with one seed, trained and tested, or read if that was done before."""
    record = path.with_suffix(".json")
    if record.is_file():
        return json.loads(record.read_text(encoding="utf-8"))
    start = time.perf_counter()
    trained = train_arm(config, name, dataset)
    seconds = time.perf_counter() - start
    metrics, probabilities = score(trained.classifier, dataset.test, config.test)
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


def _row(name, cells, config):
    accuracies = [cell["single"]["accuracy"] for cell in cells]
    seconds = float(np.mean([cell["seconds"] for cell in cells]))
    rate = with_arm(config, name).training.learning_rate
    return _arm(name, ARMS[name].title, rate, accuracies, seconds)


def _arm(name, title, rate, accuracies, seconds=None):
    sd = float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None
    return {
        "name": name,
        "title": title,
        "learning_rate": rate,
        "accuracies": accuracies,
        "mean": float(np.mean(accuracies)),
        "sd": sd,
        "seconds": seconds,
    }


def _votes(cells, labels, folder, config):
    """The best arm with a vote over crops, and the seeds as one ensemble."""
    if cells[0]["voted"] is None:
        return []
    voted = [cell["voted"]["accuracy"] for cell in cells]
    title, crops = ARMS[BEST_KNOWN].title, cells[0]["voted"]["crops"]
    rate = with_arm(config, BEST_KNOWN).training.learning_rate
    members = [np.load(folder / cell["path"]) for cell in cells]
    right = np.mean(members, axis=0).argmax(axis=1) == labels
    return [
        _arm("vote", f"{title}, {crops} crops vote", rate, voted),
        _arm(
            "ensemble",
            f"{title}, the {len(cells)} seeds as one ensemble",
            None,
            [float(right.mean())],
        ),
    ]
