"""Searches against keras-tuner's: trials an hour, best scores, memory.

The same space, seeds, epochs and data on both sides. Each side of a pair is a process
of its own, and they take turns, so that a busy machine slows both; a ratio is that of
the medians. Trials an hour count everything from `search` on, compiling too, in a
search of 60 trials; keras-tuner's trials take the same time each, so it runs 8.
Processor seconds tell what the wall clock hides where others use the cores too.

- small: a CNN on 1,200 digits of scikit-learn, 5 epochs, batches of 64.
- glyphnet: fine-tuning the shipped backbone on 20 labelled digits a class, 5 epochs.
- best scores: of searches of 6 trials of the small CNN, both sides by the best epoch.
- memory: resident, after each of 100 trials of an MLP, 1 epoch.

A part can be run by itself, and again: its runs are added to those in the file.

Command: python benchmarks/search.py [speed TASK [ROUNDS] | best [SEARCHES] | memory]
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
SIDES = {"small": ("stock", "ours", "pool"), "glyphnet": ("stock", "ours")}
TRIALS = {"stock": 8, "ours": 60, "pool": 240}
WORKERS = 2
MOST_SEEDS = 10


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
            hp.Float("learning_rate", 1e-4, 1e-1, sampling="log"),
            weight_decay=hp.Float("weight_decay", 1e-6, 1e-2, sampling="log"),
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
    from hornbook.zoo.backbones import open_backbone

    x, y = load_digits(return_X_y=True)
    x = np.kron(x.reshape(-1, 8, 8) * (255 / 16), np.ones((4, 4)))[..., None]
    x = x.astype("float32")
    few = np.concatenate(
        [np.flatnonzero(y[:1200] == label)[:20] for label in range(10)]
    )

    def build(hp):
        backbone = open_backbone("glyphnet.letters_grey").model
        features = keras.layers.Dropout(hp.Float("dropout", 0.1, 0.6))(backbone.output)
        model = keras.Model(
            backbone.input, keras.layers.Dense(10, name="head")(features)
        )
        optimizer = keras.optimizers.AdamW(
            hp.Float("learning_rate", 1e-3, 3e-2, sampling="log"),
            weight_decay=hp.Float("weight_decay", 1e-5, 1e-1, sampling="log"),
        )
        multiplier = hp.Float("backbone_lr_multiplier", 0.03, 0.9, sampling="log")
        rates = LayerwiseLearningRate(optimizer, {"head": 1.0, "": multiplier})
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(rates, loss, metrics=["accuracy"])
        return model

    held = slice(1200, 1400)
    fit = {"epochs": 5, "batch_size": 32, "validation_data": (x[held], y[held])}
    return x[few], y[few], fit, build


def tiny():
    """The same of an MLP that trains for one epoch."""
    import keras

    x, y, fit, _ = small()

    def build(hp):
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(32, activation="relu"),
                keras.layers.Dropout(hp.Float("dropout", 0.1, 0.6)),
                keras.layers.Dense(10),
            ]
        )
        optimizer = keras.optimizers.Adam(
            hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"])
        return model

    return x[:320], y[:320], fit | {"epochs": 1}, build


def search(side, task, trials, seed):
    """One search, in this process.

    Returns:
        Dict of the seconds, the best score, and megabytes after each trial.
    """
    import keras_tuner

    from hornbook import tuning

    x, y, fit, build = {"small": small, "glyphnet": glyphnet, "tiny": tiny}[task]()
    kind = (keras_tuner if side == "stock" else tuning).RandomSearch
    more = {"executor": tuning.Pool(WORKERS)} if side == "pool" else {}
    memory = []

    class Measured(kind):
        def on_trial_end(self, trial):
            super().on_trial_end(trial)
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            memory.append(round(pages * resource.getpagesize() / 2**20, 1))

    with tempfile.TemporaryDirectory() as folder:
        more |= {"directory": folder, "project_name": task}
        tuner = Measured(build, "val_accuracy", trials, seed, **more)
        wall, processor = time.perf_counter(), processor_seconds()
        tuner.search(x, y, verbose=0, **fit)
        seconds = time.perf_counter() - wall
        processor = processor_seconds() - processor
        [best] = tuner.oracle.get_best_trials(1)
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "best": float(best.score),
        "memory_mb": memory,
    }


def processor_seconds():
    """Of this process and of those that it has started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def apart(side, task, *arguments):
    """`search` in a process of its own."""
    command = [sys.executable, __file__, "search", side, task, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare_speed(result, task, rounds=3):
    """Trials an hour of each side, and how many times keras-tuner's they are."""
    row = result.setdefault("speed", {}).setdefault(task, {"bound": BOUNDS[task]})
    runs = row.setdefault("runs", {side: [] for side in SIDES[task]})
    for _ in range(rounds):
        for side in runs:
            run = apart(side, task, TRIALS[side], len(runs[side]) + 1)
            units = ("seconds", "processor_seconds")
            runs[side].append({u: round(run[u] / TRIALS[side], 3) for u in units})
    for unit in ("seconds", "processor_seconds"):
        medians = {
            side: statistics.median(each[unit] for each in runs[side]) for side in runs
        }
        for side, median in medians.items():
            row[f"{side}_{unit}_ratio"] = round(medians["stock"] / median, 2)
            if unit == "seconds":
                row[f"{side}_trials_an_hour"] = round(3600 / median)
    return row


def compare_best(result, searches=MOST_SEEDS, trials=6):
    """Best scores of both sides, search by search."""
    row = result.setdefault("best", {"trials": trials, "stock": [], "ours": []})
    for seed in range(len(row["ours"]) + 1, min(len(row["ours"]) + searches, 10) + 1):
        for side in ("stock", "ours"):
            row[side].append(round(apart(side, "small", trials, seed)["best"], 4))
    pairs = zip(row["ours"], row["stock"], strict=True)
    differences = [ours - stock for ours, stock in pairs]
    sd = statistics.stdev(differences)
    row["mean_difference"] = round(statistics.mean(differences), 4)
    row["standard_error"] = round(sd / len(differences) ** 0.5, 4)
    return row


def compare_memory(result, trials=100):
    """Megabytes after each trial, and the growth after the tenth."""
    row = result["memory"] = {"trials": trials}
    for side in ("stock", "ours"):
        memory = apart(side, "tiny", trials, 1)["memory_mb"]
        growth = max(memory[10:]) / memory[9] - 1
        row |= {side: memory, f"{side}_growth_after_tenth": round(growth, 4)}
    return row


def main(part=None, *arguments):
    """Compares, prints and writes."""
    import keras
    import keras_tuner

    if not part:
        OUT.unlink(missing_ok=True)
    about = {
        "command": "python benchmarks/search.py",
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "keras_tuner": keras_tuner.__version__,
        "cores": os.cpu_count(),
    }
    parts = {
        "speed": (compare_speed, list(BOUNDS)),
        "best": (compare_best, [MOST_SEEDS]),
        "memory": (compare_memory, [100]),
    }
    for name in [part] if part else parts:
        compare, settings = parts[name]
        calls = [(s,) for s in settings] if not arguments else [arguments]
        for call in calls:
            result = json.loads(OUT.read_text()) if OUT.exists() else {}
            result |= about
            row = compare(result, *(int(a) if str(a).isdigit() else a for a in call))
            print(name, json.dumps(row), flush=True)
            OUT.parent.mkdir(parents=True, exist_ok=True)
            OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["search"]:
        side, task, trials, seed = sys.argv[2:]
        print(json.dumps(search(side, task, int(trials), int(seed))))
    else:
        main(*sys.argv[1:])
