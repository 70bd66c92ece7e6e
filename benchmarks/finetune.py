"""Time to a validation accuracy: `fine_tune` against Keras's transfer learning guide.

The peer is the method of https://keras.io/guides/transfer_learning, in a
script of our own: the base model frozen and called with `training=False`, dropout and a
new head, `fit`; then the base model unfrozen, all compiled again at a low rate, `fit`.
Ours is `fine_tune`: the head on cached features, then all, and no crops. Both have
the same backbone, the same examples, head, batches and epochs, and the guide's rates,
and begin with all imported and nothing built or compiled. A side reaches an accuracy at
the end of the first epoch whose validation accuracy is that high; how long that took is
counted from the beginning. Ratios are those of the medians over the rounds, at each
level that all runs reach; the one at the highest of these is held against the bound.
Sides take turns, each in a process of its own, of which the peak of resident memory is
given too, beside that of a process that only has the data and the backbone.

The data are 797 handwritten digits over photographs; 500 of the other digits validate,
500 test, once, at the end. There are two backbones, for a frozen epoch costs the guide
a pass through the backbone, and us no more than a pass through the head: 32 pixels need
12 million multiplications in one, 41 million in the other. The guide's own backbone,
Xception at 150 pixels, needs two thousand million.

Command: python benchmarks/finetune.py [rounds]
Writes:  docs/benchmarks/finetune.json
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

OUT = Path(__file__).parents[1] / "docs/benchmarks/finetune.json"
ROUNDS = 5
BACKBONES = ("glyphnet.letters_rgb", "resnet20.letters_rgb")
LEVELS = (0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.91, 0.92)
BOUND = 3.0
RATE, LOW_RATE = 1e-3, 1e-5  # the guide's: Adam's default, and "very low"
EPOCHS = {"head": 20, "all": 10}
BATCH = 32
DROPOUT = 0.2
SIDES = ("guide", "ours")


def read_data():
    """Training, validation and test examples, 32 pixels a side."""
    from hornbook.zoo.data.arrays.crops import centre_crops
    from hornbook.zoo.data.builders.hornbook_digits import POOL
    from hornbook.zoo.data.builders.hornbook_photo_digits import photo_digits

    images, labels = photo_digits()
    crops = centre_crops(images, 32)
    parts = slice(0, POOL), slice(POOL, POOL + 500), slice(POOL + 500, POOL + 1000)
    return [(crops[part], labels[part]) for part in parts]


def watch_clock(start):
    """A callback that keeps the seconds and the validation accuracy of each epoch."""
    import keras

    class Clock(keras.callbacks.Callback):
        seen = []

        def on_epoch_end(self, epoch, logs=None):
            seconds = time.perf_counter() - start
            self.seen.append((seconds, logs["val_accuracy"]))

    return Clock()


def guide(backbone, train, validation, clock, seed):
    """The guide's method; returns the model."""
    import keras
    from keras import layers

    from hornbook.zoo.backbones import open_backbone

    keras.utils.set_random_seed(seed)
    base = open_backbone(backbone).model
    base.trainable = False
    inputs = keras.Input((32, 32, 3))
    x = base(inputs, training=False)
    x = layers.Dropout(DROPOUT)(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    for phase, rate in (("head", RATE), ("all", LOW_RATE)):
        base.trainable = phase == "all"
        model.compile(
            keras.optimizers.Adam(rate),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        model.fit(
            *train,
            batch_size=BATCH,
            epochs=EPOCHS[phase],
            validation_data=validation,
            callbacks=[clock],
            verbose=0,
        )
    return model


def ours(backbone, train, validation, clock, seed):
    """`fine_tune`; returns the model."""
    import keras

    from hornbook.zoo import fine_tune

    epochs, steps = sum(EPOCHS.values()), math.ceil(len(train[1]) / BATCH)
    rate = keras.optimizers.schedules.PiecewiseConstantDecay(
        [EPOCHS["head"] * steps], [RATE, LOW_RATE]
    )
    return fine_tune(
        backbone,
        train,
        validation,
        strategy="head_then_all",
        epochs=epochs,
        freeze_epochs=EPOCHS["head"],
        learning_rate=rate,
        backbone_lr_multiplier=1.0,
        batchnorm="frozen",
        random_crop=False,
        steps_per_epoch=steps,
        dropout=DROPOUT,
        batch_size=BATCH,
        patience=epochs,
        callbacks=[clock],
        seed=seed,
    ).model


def run(side, backbone, seed):
    """One side from the beginning to the end, as a dict of figures."""
    from hornbook.zoo import fine_tune  # noqa: F401
    from hornbook.zoo.backbones import open_backbone

    train, validation, test = read_data()
    result = {"side": side, "backbone": backbone, "seed": seed}
    if side == "nothing":
        open_backbone(backbone).model.predict(test[0][:BATCH], verbose=0)
    else:
        method = {"guide": guide, "ours": ours}[side]
        clock = watch_clock(time.perf_counter())
        model = method(backbone, train, validation, clock, seed)
        model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        result |= {
            "seconds": clock.seen[-1][0],
            "validation": clock.seen[-1][1],
            "curve": [[round(n, 3) for n in pair] for pair in clock.seen],
            "test": model.evaluate(*test, verbose=0)[1],
        }
    lines = Path("/proc/self/status").read_text().splitlines()
    [peak] = [line for line in lines if line.startswith("VmHWM:")]
    return result | {"peak_mb": round(int(peak.split()[1]) / 1024)}


def alone(side, backbone, seed):
    """What `run` gives, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "run", side, backbone, str(seed)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def spread(rows, name):
    """Mean and standard deviation."""
    values = [row[name] for row in rows]
    return [round(statistics.fmean(values), 4), round(statistics.stdev(values), 4)]


def compare_levels(by_side):
    """Median seconds and epochs to each level, and how many times faster ours is."""
    levels = {}
    for level in LEVELS:
        row = {}
        for side, runs in by_side.items():
            firsts = [first_epoch(run["curve"], level) for run in runs]
            if None not in firsts:
                seconds = (r["curve"][i][0] for r, i in zip(runs, firsts, strict=True))
                row[f"{side}_seconds"] = round(statistics.median(seconds), 2)
                row[f"{side}_epochs"] = statistics.median(firsts) + 1
        if len(row) == 2 * len(by_side):
            ratio = row["guide_seconds"] / row["ours_seconds"]
            row["times_faster"] = round(ratio, 2)
        levels[f"{level:.0%}"] = row
    return levels


def first_epoch(curve, level):
    """Place of the first epoch whose accuracy is that high, or None."""
    return next((i for i, (_, right) in enumerate(curve) if right >= level), None)


def compare(backbone, rounds):
    """Both sides by turns, on one backbone, as a dict of figures."""
    rows = []
    for seed in range(rounds):
        for side in SIDES if seed % 2 else SIDES[::-1]:
            rows.append(alone(side, backbone, seed))
            print(rows[-1], flush=True)
    by_side = {side: [row for row in rows if row["side"] == side] for side in SIDES}
    medians = {
        side: {
            name: statistics.median(row[name] for row in each)
            for name in ("seconds", "peak_mb")
        }
        for side, each in by_side.items()
    }
    levels = compare_levels(by_side)
    target = [level for level, row in levels.items() if "times_faster" in row][-1]
    return {
        "to_validation_accuracy": levels,
        "target": target,
        "times_faster_to_target": levels[target]["times_faster"],
        "medians": medians,
        "times_faster_all_epochs": round(
            medians["guide"]["seconds"] / medians["ours"]["seconds"], 2
        ),
        "validation_accuracy": {s: spread(by_side[s], "validation") for s in SIDES},
        "test_accuracy": {side: spread(by_side[side], "test") for side in SIDES},
        "peak_mb_of_data_and_backbone_alone": alone("nothing", backbone, 0)["peak_mb"],
        "runs": rows,
    }


def main(rounds=ROUNDS):
    """Compares, prints and writes."""
    result = {
        "command": "python benchmarks/finetune.py",
        "cores": os.cpu_count(),
        "rounds": rounds,
        "rates": [RATE, LOW_RATE],
        "epochs": EPOCHS,
        "bound": BOUND,
        "backbones": {each: compare(each, rounds) for each in BACKBONES},
    }
    for backbone, row in result["backbones"].items():
        print(backbone, {key: row[key] for key in row if key != "runs"})
    if rounds >= ROUNDS:
        OUT.parent.mkdir(parents=True, exist_ok=True)
        OUT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        side, backbone, seed = sys.argv[2:]
        print(json.dumps(run(side, backbone, int(seed))))
    else:
        main(*map(int, sys.argv[1:]))
