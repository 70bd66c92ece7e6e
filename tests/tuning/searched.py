"""A search that a test can kill: `python searched.py FOLDER [none|pool|ray]`."""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from hornbook import tuning

EXECUTORS = {
    "none": lambda: None,
    "pool": lambda: tuning.Pool(workers=3),
    "ray": lambda: tuning.Ray(workers=3),
}


def build(hp):
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(hp.Choice("units", [4, 8]), activation="relu"),
            keras.layers.Dropout(hp.Float("dropout", 0.1, 0.5)),
            keras.layers.Dense(1),
        ]
    )
    learning_rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(learning_rate), "mse")
    return model


class Slow(keras.callbacks.Callback):
    """Makes an epoch long enough to be killed in."""

    def on_epoch_end(self, epoch, logs=None):
        time.sleep(0.1)


class Watched(tuning.RandomSearch):
    """Says what the oracle has on record."""

    def on_trial_begin(self, trial):
        print("begins", trial.trial_id, flush=True)

    def on_trial_end(self, trial):
        super().on_trial_end(trial)
        print("ends", trial.trial_id, flush=True)


def data():
    random = np.random.default_rng(0)
    x = random.normal(size=(100, 8)).astype("float32")
    y = x[:, :1] * x[:, 1:2]
    return (x[:60], y[:60]), (x[60:], y[60:])


def make(folder, where="none", kind=Watched, trials=20):
    return kind(
        build,
        "val_loss",
        max_trials=trials,
        seed=3,
        executions_per_trial=2,
        directory=folder,
        project_name="search",
        save_every=0.0,
        executor=EXECUTORS[where](),
    )


def main(folder, where="none", slow="", trials="20"):
    tuner = make(folder, where, trials=int(trials))
    print("ready", flush=True)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=3)
    training, validation = data()
    tuner.search(
        *training,
        validation_data=validation,
        batch_size=16,
        epochs=8,
        callbacks=[stop, Slow()] if slow else [stop],
        verbose=0,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
