"""What callbacks see of a training in phases, and how a budget of time is kept."""

import csv
import time

import keras
import numpy as np
import pytest
from tiny import build, patterns

from hornbook.zoo import fine_tune
from hornbook.zoo.finetune.callbacks import TimeBudget

OPTIONS = {"epochs": 5, "steps_per_epoch": 2, "learning_rate": 0.01}


class Watch(keras.callbacks.Callback):
    """Keeps the names of what it is told, with epochs and phases."""

    def __init__(self):
        super().__init__()
        self.told = []

    def on_train_begin(self, logs=None):
        self.told.append("begin")

    def on_train_end(self, logs=None):
        self.told.append("end")

    def on_epoch_begin(self, epoch, logs=None):
        self.told.append(epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.told.append((epoch, logs["phase"], logs["loss"]))


@pytest.mark.parametrize("cache", ["memory", None])
def test_a_user_s_callbacks_see_one_training(tmp_path, cache):
    watch, path = Watch(), tmp_path / "log.csv"
    saved = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras"))
    board = keras.callbacks.TensorBoard(str(tmp_path / "board"))
    callbacks = [watch, keras.callbacks.CSVLogger(str(path)), saved, board]
    tuned = fine_tune(build(), patterns(), callbacks=callbacks, cache=cache, **OPTIONS)
    losses = [row["loss"] for row in tuned.history]
    phases = [1, 1, 2, 2, 2]
    expected = ["begin"]
    for epoch, (phase, loss) in enumerate(zip(phases, losses, strict=True)):
        expected += [epoch, (epoch, phase, loss)]
    assert watch.told == [*expected, "end"]
    rows = list(csv.DictReader(path.open()))
    assert [row["epoch"] for row in rows] == list("01234")
    assert [float(row["phase"]) for row in rows] == phases
    np.testing.assert_allclose([float(row["loss"]) for row in rows], losses, rtol=1e-6)
    assert {each.name for each in tmp_path.glob("*.keras")} == {
        f"{epoch}.keras" for epoch in range(1, 6)
    }
    assert len(list(tmp_path.rglob("events.*"))) == 1
    # Each is the whole model of its epoch, in the head's phase too.
    last = keras.models.load_model(tmp_path / "5.keras")
    for a, b in zip(last.get_weights(), tuned.classifier.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    first = keras.models.load_model(tmp_path / "1.keras")
    assert first.output_shape == (None, 3)


def test_early_stopping_of_the_user_s_ends_the_training_with_its_best_weights():
    stopping = keras.callbacks.EarlyStopping(
        "loss", patience=1, min_delta=1e9, restore_best_weights=True
    )
    tuned = fine_tune(build(), patterns(), callbacks=[stopping], **OPTIONS)
    assert [row["phase"] for row in tuned.history] == ["head", "head"]
    assert stopping.stopped_epoch == 1
    for a, b in zip(stopping.best_weights, tuned.classifier.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_budget_of_time_ends_with_a_rate_near_0():
    clock = time.perf_counter()
    tuned = fine_tune(
        build(), patterns(), minutes=0.1, steps_per_epoch=20, learning_rate=0.05
    )
    assert time.perf_counter() - clock < 40  # compiling too
    phases = {row["phase"] for row in tuned.history}
    assert phases == {"head", "all"}
    for phase in phases:
        rates = [row["learning_rate"] for row in tuned.history if row["phase"] == phase]
        assert rates[-1] < 0.25 * max(rates)
        assert rates == sorted(rates, reverse=True)


class Clock:
    """Stands for `time`; each look takes a second."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        self.now += 1
        return self.now


def test_the_rate_of_a_budget_is_a_cosine_of_the_time(monkeypatch):
    from hornbook.zoo.finetune import callbacks

    monkeypatch.setattr(callbacks, "time", Clock())
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    budget = TimeBudget(0.4, seconds=8, warmup_ratio=0.25)
    budget.set_model(model)
    budget.on_train_begin()
    found = []
    for batch in range(8):
        budget.on_train_batch_begin(batch)
        found.append(float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
    passed = np.arange(1, 9) / 8
    expected = 0.2 * (1 + np.cos(np.pi * np.maximum(0, passed - 0.25) / 0.75))
    expected *= np.minimum(1, passed / 0.25)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    model.stop_training = False
    budget.on_train_batch_end(8)
    assert model.stop_training
