"""Trains a small model in processes that are killed, and then one that is not.

    python full_state_job.py FOLDER SAVER KILL ...

Trains without a disturbance, and again as often as there are KILLs, each time in a new
process that goes on where the one before was killed. Writes what both end with to
`FOLDER/whole.npz` and `FOLDER/killed.npz`, and prints as JSON how many epochs each
process found done, or null where none was left. SAVER is `FullState` or
`BackupAndRestore`. KILL is one of

    SECONDS     after that time, counted from the begin of the second epoch
    batch:N     within an epoch, after N batches of this process
    arrays:N    with half of the N-th state's arrays on disk
    latest:N    before the N-th state is published
    removal:N   before the N-th state that another replaced is removed
"""

import io
import json
import os
import pathlib
import signal
import sys
import time
import traceback

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from hornbook.recipes.callbacks.full_state import FullState
from hornbook.recipes.data.seeded_batches import SeededBatches

EPOCHS = 20
layers = keras.layers
savez = np.savez


def make_deterministic():
    keras.utils.set_random_seed(1)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    if keras.backend.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(1)


def make_data():
    """Noisy examples of ten random patterns."""
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(10, 8, 8, 1))
    y = np.arange(400) % 10
    x = patterns[y] + 2 * rng.normal(size=(400, 8, 8, 1))
    return x.astype("float32"), y


def make_model():
    """All that BackupAndRestore forgets: two kinds of seed generators, one nested."""
    stem = keras.Sequential(
        [layers.RandomTranslation(0.1, 0.1), layers.Conv2D(8, 3), layers.Dropout(0.2)]
    )
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            stem,
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model


def shift(x, rng):
    return np.roll(x, rng.integers(-1, 2), axis=2) + rng.normal(size=x.shape) / 10


def train(folder, saver, result, callbacks=()):
    make_deterministic()
    x, y = make_data()
    model = make_model()
    data = SeededBatches(
        x[:320], y[:320], 32, seed=3, transform=shift, steps_per_epoch=12
    )
    if saver == "FullState":
        saver = FullState(folder, data)
    else:
        saver = keras.callbacks.BackupAndRestore(folder)
        callbacks = [
            *callbacks,
            keras.callbacks.LambdaCallback(
                on_epoch_begin=lambda epoch, logs: data.set_epoch(epoch)
            ),
        ]
    history = model.fit(
        data,
        epochs=EPOCHS,
        verbose=0,
        shuffle=False,
        validation_data=(x[320:], y[320:]),
        callbacks=[
            *callbacks,
            keras.callbacks.ReduceLROnPlateau(patience=2, min_delta=0.1),
            keras.callbacks.EarlyStopping(
                patience=4, min_delta=0.1, restore_best_weights=True
            ),
            saver,
        ],
    )
    arrays = {f"model {i} {v.path}": v for i, v in enumerate(model.variables)}
    arrays |= {f"optimizer {v.path}": v for v in model.optimizer.variables}
    arrays = {name: keras.ops.convert_to_numpy(v) for name, v in arrays.items()}
    arrays |= {f"history {name}": v for name, v in history.history.items()}
    np.savez(result, epoch=history.epoch, **arrays)


class Reporter(keras.callbacks.Callback):
    """Tells the parent process which epoch begins."""

    def __init__(self, pipe):
        super().__init__()
        self.pipe = pipe

    def on_epoch_begin(self, epoch, logs=None):
        os.write(self.pipe, bytes([epoch]))


class KilledAfterBatches(keras.callbacks.Callback):
    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            kill()


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(call, module, name, before):
    """Makes the call of that number to a function the process's end."""
    function = getattr(module, name)
    calls = []

    def killing(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            before(*args, **kwargs)
            kill()
        return function(*args, **kwargs)

    setattr(module, name, killing)


def half_of_the_arrays(file, **arrays):
    whole = io.BytesIO()
    savez(whole, **arrays)
    file.write(whole.getvalue()[: whole.tell() // 2])
    file.flush()


def set_up_kill(moment):
    """Returns the callbacks that kill this process at the moment."""
    kind, _, number = moment.partition(":")
    if kind == "batch":
        return [KilledAfterBatches(int(number))]
    if kind == "arrays":
        kill_at(int(number), np, "savez", half_of_the_arrays)
    if kind == "latest":
        kill_at(int(number), os, "replace", lambda *args: None)
    if kind == "removal":
        kill_at(int(number), pathlib.Path, "unlink", lambda path: None)
    return []


def run(folder, saver, moment=None, result="unused"):
    """Trains in a child process; returns the epochs done before, and its end."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        callbacks = [Reporter(writer), *(set_up_kill(moment) if moment else [])]
        try:
            train(folder, saver, result, callbacks)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writer)
    done = os.read(reader, 1)
    if moment and ":" not in moment:
        os.read(reader, 1)
        time.sleep(float(moment))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(reader)
    return done[0] if done else None, os.waitstatus_to_exitcode(status)


def main(folder, saver, *moments):
    folder = pathlib.Path(folder)
    keras.utils.set_random_seed(0)  # Imports TensorFlow, where there is one.
    _, code = run(folder / "whole", saver, result=folder / "whole.npz")
    assert code == 0
    started = []
    for moment in moments:
        done, code = run(folder / "killed", saver, moment)
        assert code == -signal.SIGKILL or ":" not in moment, (moment, code)
        started.append(done)
    done, code = run(folder / "killed", saver, result=folder / "killed.npz")
    assert code == 0
    print(json.dumps([*started, done]))


if __name__ == "__main__":
    main(*sys.argv[1:])
