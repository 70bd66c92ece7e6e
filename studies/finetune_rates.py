"""Chooses the learning rate of each arm of `hornbook finetune --compare`.

Claim:   each way to fine-tune needs a rate of its own; at another it looks worse than
         it is.
Data:    the training pool alone: 5 labels a class to train on, what is left of the pool
         to choose on. The test splits are not read.
Command: python studies/finetune_rates.py
Writes:  docs/studies/finetune_rates.json; zoo/finetune/arms.py holds the rates.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from hornbook.tuning.arm_rate import ArmRate
from hornbook.zoo.data.few_labels import draw_few
from hornbook.zoo.data.sources import load_dataset
from hornbook.zoo.files import write_json
from hornbook.zoo.finetune.arms import ARMS

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs/studies/finetune_rates.json"
RATES = {
    "scratch": [3e-3, 1e-2, 3e-2],
    "probe": [1e-2, 3e-2, 1e-1],
    "full": [1e-3, 3e-3, 1e-2],
    "slow": [3e-3, 1e-2, 3e-2],
    "thaw": [1e-2, 3e-2, 1e-1],
}
TASKS = {
    "hornbook_photo_digits": ("glyphnet.letters_rgb", 3),
    "hornbook_digits": ("glyphnet.letters_grey", 1),
}
LABELS_PER_CLASS = 5
SEEDS = (100, 101, 102)  # other draws than those of the reported figures


def development_draw(name, channels, seed):
    """Few labels to train on; the rest of the training pool in place of the test."""
    full = load_dataset(f"tfds:{name}", size=36, channels=channels)
    parts = [part for part in (full.train, full.validation) if part is not None]
    images = np.concatenate([part.images for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    names = np.concatenate([part.names for part in parts])
    few = draw_few(labels, LABELS_PER_CLASS, seed)
    rest = np.setdiff1d(np.arange(len(labels)), few)

    def take(places):
        examples = {"images": images[places], "labels": labels[places]}
        return replace(full.train, **examples, names=tuple(names[places]))

    return replace(full, train=take(few), validation=None, test=take(rest))


def main():
    """Searches every arm on both data sets; goes on where it was stopped."""
    results = {"labels_per_class": LABELS_PER_CLASS, "seeds": SEEDS, "tasks": {}}
    for name, (backbone, channels) in TASKS.items():
        draws = [(seed, development_draw(name, channels, seed)) for seed in SEEDS]
        task = results["tasks"][name] = {}
        for arm, rates in RATES.items():
            search = ArmRate(
                ARMS[arm],
                draws,
                rates,
                backbone,
                directory=str(ROOT / "build/studies/finetune_rates"),
                project_name=f"{name}-{arm}",
            )
            search.search()
            trials = search.oracle.get_best_trials(len(rates))
            task[arm] = {
                f"{trial.hyperparameters['rate']:g}": round(trial.score, 4)
                for trial in trials
            }
            print(name, arm, json.dumps(task[arm]), flush=True)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    write_json(OUT, results)


if __name__ == "__main__":
    main()
