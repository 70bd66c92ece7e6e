"""A search that a test can kill: `python searched.py FOLDER`."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from hornbook.tuning import RandomSearch


def build(hp):
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(hp.Choice("units", [4, 8]), activation="relu"),
            keras.layers.Dropout(hp.Float("dropout", 0.1, 0.5)),
            keras.layers.Dense(1),
        ]
    )
    rate = hp.Float("rate", 1e-3, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "mse")
    return model


def main(folder):
    random = np.random.default_rng(0)
    x = random.normal(size=(100, 8)).astype("float32")
    y = x[:, :1] * x[:, 1:2]
    tuner = RandomSearch(
        build,
        "val_loss",
        max_trials=20,
        seed=3,
        executions_per_trial=2,
        directory=folder,
        project_name="search",
        save_every=0.0,
    )
    run = tuner.runner.run

    def counted(trial_id, *args, **kwargs):
        print("begins", trial_id, flush=True)
        record = run(trial_id, *args, **kwargs)
        print("ends", trial_id, flush=True)
        return record

    tuner.runner.run = counted
    print("ready", flush=True)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=3)
    tuner.search(
        x[:60],
        y[:60],
        validation_data=(x[60:], y[60:]),
        batch_size=16,
        epochs=8,
        callbacks=[stop],
        verbose=0,
    )


if __name__ == "__main__":
    main(sys.argv[1])
