"""Time to a validation accuracy: `fine_tune` against Keras's transfer learning guide.

The peer is the method of https://keras.io/guides/transfer_learning, in a
script of our own: the base model frozen and called with `training=False`, dropout and a
new head, `fit`; then the base model unfrozen, all compiled again at a low rate, `fit`.
Ours is `fine_tune(strategy="thaw")`: the head on cached features, then all. Both have
the same backbone, the same examples, head, batches and epochs, and the guide's rates,
and begin with nothing built or compiled. A side reaches an accuracy at the end of the
first epoch whose validation accuracy is that high; how long that took is counted from
the beginning. Ratios are those of the medians over the rounds, at each level that all
runs reach; the one that is held against the bound is at 90 %. Sides take turns, each in
a process of its own, of which the peak of resident memory is given too, beside that of
a process that only has the data and the backbone.

The data are 797 handwritten digits over photographs, the backbone glyphnet.letters_rgb;
500 of the other digits validate, 500 test, once, at the end. The backbone is small: of
one that costs more, a frozen epoch costs the guide more, and us no more than now.

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
LEVELS = (0.8, 0.85, 0.88, 0.9, 0.91, 0.92)
TARGET = 0.9
BOUND = 3.0
RATE, LOW_RATE = 1e-3, 1e-5  # the guide's: Adam's default, and "very low"
EPOCHS = {"head": 20, "all": 10}
BATCH = 32
DROPOUT = 0.2
SIDES = ("guide", "ours")


def read_data():
    """Training, validation and test examples, 32 pixels a side."""
    from hornbook.zoo.data.crops import centre_crops
    from hornbook.zoo.data.hornbook_digits import POOL
    from hornbook.zoo.data.hornbook_photo_digits import photo_digits

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


def guide(train, validation, clock):
    """The guide's method; returns the model."""
    import keras
    from keras import layers

    from hornbook.zoo.backbones import open_backbone

    base = open_backbone("glyphnet.letters_rgb").model
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


def ours(train, validation, clock):
    """`fine_tune`; returns the model."""
    import keras

    from hornbook.zoo import fine_tune

    epochs, steps = sum(EPOCHS.values()), math.ceil(len(train[1]) / BATCH)
    rate = keras.optimizers.schedules.PiecewiseConstantDecay(
        [EPOCHS["head"] * steps], [RATE, LOW_RATE]
    )
    return fine_tune(
        "glyphnet.letters_rgb",
        train,
        validation,
        strategy="thaw",
        epochs=epochs,
        head_share=EPOCHS["head"] / epochs,
        rate=rate,
        backbone_rate=1.0,
        dropout=DROPOUT,
        batch_size=BATCH,
        patience=epochs,
        callbacks=[clock],
        seed=int(sys.argv[3]),
    ).model


def run(side, seed):
    """One side from the beginning to the end, as a dict of figures."""
    import keras

    train, validation, test = read_data()
    keras.utils.set_random_seed(seed)
    result = {"side": side, "seed": seed}
    if side == "nothing":
        from hornbook.zoo import fine_tune  # noqa: F401
        from hornbook.zoo.backbones import open_backbone

        open_backbone("glyphnet.letters_rgb").model.predict(test[0][:BATCH], verbose=0)
    else:
        clock = watch_clock(time.perf_counter())
        model = {"guide": guide, "ours": ours}[side](train, validation, clock)
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


def alone(side, seed):
    """What `run` gives, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "run", side, str(seed)],
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


def main(rounds=ROUNDS):
    """Compares, prints and writes."""
    nothing = alone("nothing", 0)["peak_mb"]
    rows = []
    for seed in range(rounds):
        for side in SIDES if seed % 2 else SIDES[::-1]:
            rows.append(alone(side, seed))
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
    result = {
        "command": "python benchmarks/finetune.py",
        "cores": os.cpu_count(),
        "rounds": rounds,
        "rates": [RATE, LOW_RATE],
        "epochs": EPOCHS,
        "to_validation_accuracy": levels,
        "target": TARGET,
        "times_faster_to_target": levels[f"{TARGET:.0%}"]["times_faster"],
        "bound": BOUND,
        "medians": medians,
        "times_faster_all_epochs": round(
            medians["guide"]["seconds"] / medians["ours"]["seconds"], 2
        ),
        "validation_accuracy": {s: spread(by_side[s], "validation") for s in SIDES},
        "test_accuracy": {side: spread(by_side[side], "test") for side in SIDES},
        "peak_mb_of_data_and_backbone_alone": nothing,
        "runs": rows,
    }
    print({key: value for key, value in result.items() if key != "runs"})
    if rounds >= ROUNDS:
        OUT.parent.mkdir(parents=True, exist_ok=True)
        OUT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        print(json.dumps(run(sys.argv[2], int(sys.argv[3]))))
    else:
        main(*map(int, sys.argv[1:]))
