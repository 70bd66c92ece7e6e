"""Searches against keras-tuner's: trials an hour, best scores, memory.

The same space, seeds, epochs and data on both sides. Each side of a pair is a process
of its own, and they take turns, so that a busy machine slows both; a ratio is that of
the medians. Trials an hour count everything from `search` on, compiling too.
Processor seconds tell what the wall clock hides where others use the cores too.

- small: a CNN on 1,200 digits of scikit-learn, 5 epochs, batches of 64.
- glyphnet: fine-tuning the shipped backbone on 20 labelled digits a class.
- best scores: over searches from several seeds, on both sides the best epoch.
- memory: resident, after each of 100 trials of the small CNN.

Command: python benchmarks/search.py [rounds] [searches] [trials for memory]
Writes:  docs/benchmarks/search.json
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

OUT = Path(__file__).parents[1] / "docs/benchmarks/search.json"
BOUNDS = {"small": 10, "glyphnet": 3}
TRIALS = {"small": 30, "glyphnet": 20}


def small():
    """Data, arguments of `fit`, and `build`, of the small CNN."""
    import keras
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32").reshape(-1, 8, 8, 1)

    def build(hp):
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(16, 3, activation="relu"),
                keras.layers.Conv2D(32, 3, activation="relu"),
                keras.layers.Flatten(),
                keras.layers.Dense(64, activation="relu"),
                keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6)),
                keras.layers.Dense(10),
            ]
        )
        optimizer = keras.optimizers.AdamW(
            hp.Float("rate", 1e-4, 1e-1, sampling="log"),
            weight_decay=hp.Float("decay", 1e-6, 1e-2, sampling="log"),
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"])
        return model

    fit = {"epochs": 5, "batch_size": 64, "validation_data": (x[1200:], y[1200:])}
    return x[:1200], y[:1200], fit, build


def glyphnet():
    """The same of fine-tuning the shipped backbone."""
    import keras
    import numpy as np
    from sklearn.datasets import load_digits

    from hornbook.recipes.optimizers import LayerwiseLearningRate
    from hornbook.zoo.weights import load_backbone

    x, y = load_digits(return_X_y=True)
    x = np.kron(x.reshape(-1, 8, 8) * (255 / 16), np.ones((4, 4)))[..., None]
    x = x.astype("float32")
    few = np.concatenate(
        [np.flatnonzero(y[:1200] == label)[:20] for label in range(10)]
    )

    def build(hp):
        backbone = load_backbone("glyphnet.letters_grey")
        features = keras.layers.Dropout(hp.Float("dropout", 0.1, 0.6))(backbone.output)
        model = keras.Model(
            backbone.input, keras.layers.Dense(10, name="head")(features)
        )
        optimizer = keras.optimizers.AdamW(
            hp.Float("rate", 1e-3, 3e-2, sampling="log"),
            weight_decay=hp.Float("decay", 1e-5, 1e-1, sampling="log"),
        )
        slower = hp.Float("backbone", 0.03, 0.9, sampling="log")
        rates = LayerwiseLearningRate(optimizer, {"head": 1.0, "": slower})
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(rates, loss, metrics=["accuracy"])
        return model

    held = slice(1200, 1400)
    fit = {"epochs": 5, "batch_size": 32, "validation_data": (x[held], y[held])}
    return x[few], y[few], fit, build


def search(side, task, trials, seed):
    """One search, in this process.

    Returns:
        Dict of the seconds, the best score, and megabytes after each trial.
    """
    import keras_tuner

    from hornbook import tuning

    x, y, fit, build = {"small": small, "glyphnet": glyphnet}[task]()
    kind = {"stock": keras_tuner, "ours": tuning}[side].RandomSearch
    memory = []

    class Measured(kind):
        def on_trial_end(self, trial):
            super().on_trial_end(trial)
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            memory.append(round(pages * resource.getpagesize() / 2**20, 1))

    with tempfile.TemporaryDirectory() as folder:
        tuner = Measured(
            build, "val_accuracy", trials, seed, directory=folder, project_name=task
        )
        wall, processor = time.perf_counter(), time.process_time()
        tuner.search(x, y, verbose=0, **fit)
        seconds = time.perf_counter() - wall
        processor = time.process_time() - processor
        [best] = tuner.oracle.get_best_trials(1)
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "best": float(best.score),
        "memory_mb": memory,
    }


def apart(*arguments):
    """`search` in a process of its own."""
    command = [sys.executable, __file__, "search", *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare_speed(task, rounds):
    """Trials an hour of both sides."""
    runs = {"stock": [], "ours": []}
    for turn in range(rounds):
        for side in runs:
            runs[side].append(apart(side, task, TRIALS[task], turn + 1))
    row = {"task": task, "trials": TRIALS[task], "bound": BOUNDS[task]}
    medians = {}
    for side, results in runs.items():
        for unit in ("seconds", "processor_seconds"):
            medians[side, unit] = statistics.median(each[unit] for each in results)
        per_hour = 3600 * TRIALS[task] / medians[side, "seconds"]
        row[f"{side}_trials_an_hour"] = round(per_hour)
    for unit in ("seconds", "processor_seconds"):
        ratio = medians["stock", unit] / medians["ours", unit]
        row[f"{unit}_ratio"] = round(ratio, 2)
    return row


def compare_best(searches, trials=10):
    """Best scores of both sides, search by search."""
    best = {
        side: [
            apart(side, "small", trials, seed)["best"]
            for seed in range(1, searches + 1)
        ]
        for side in ("stock", "ours")
    }
    pairs = zip(best["ours"], best["stock"], strict=True)
    differences = [ours - stock for ours, stock in pairs]
    sd = statistics.stdev(differences)
    return {
        "trials": trials,
        **{side: [round(each, 4) for each in values] for side, values in best.items()},
        "mean_difference": round(statistics.mean(differences), 4),
        "standard_error": round(sd / len(differences) ** 0.5, 4),
    }


def compare_memory(trials):
    """Megabytes after each trial, and the growth after the tenth."""
    result = {"trials": trials}
    for side in ("stock", "ours"):
        memory = apart(side, "small", trials, 1)["memory_mb"]
        result[side] = memory
        result[f"{side}_growth_after_tenth"] = round(
            max(memory[10:]) / memory[9] - 1, 4
        )
    return result


def main(rounds=3, searches=10, trials=100):
    """Compares, prints and writes."""
    import keras
    import keras_tuner

    result = {
        "command": "python benchmarks/search.py",
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "keras_tuner": keras_tuner.__version__,
        "cores": os.cpu_count(),
        "rounds": rounds,
    }
    parts = {
        "speed": lambda: [compare_speed(task, rounds) for task in BOUNDS],
        "best": lambda: compare_best(searches),
        "memory": lambda: compare_memory(trials),
    }
    for name, part in parts.items():
        result[name] = part()
        print(name, json.dumps(result[name]), flush=True)
        OUT.parent.mkdir(parents=True, exist_ok=True)
        OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["search"]:
        side, task, trials, seed = sys.argv[2:]
        print(json.dumps(search(side, task, int(trials), int(seed))))
    else:
        main(*map(int, sys.argv[1:]))
