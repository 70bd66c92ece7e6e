"""The monitor against weights saved around each step, and its files."""

import csv
import sys

import keras
import numpy as np
import pytest
from keras import layers, optimizers

from hornbook.recipes.callbacks.full_state import FullState
from hornbook.recipes.callbacks.training_monitor import TrainingMonitor
from hornbook.recipes.diagnosis.layer_probe import LayerProbe
from hornbook.recipes.optimizers.layerwise_learning_rate import LayerwiseLearningRate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 6)).astype("float32")
Y = RNG.normal(size=(48, 2)).astype("float32")
STEPS = 6  # of 8 examples each


class Saved(keras.callbacks.Callback):
    """Each layer's weights before and after each step."""

    def __init__(self):
        super().__init__()
        self.before, self.after = [], []

    def save(self):
        layers = {each.path: each for each in self.model._flatten_layers()}
        return {
            path: np.concatenate(
                [np.array(w, "float64").ravel() for w in layer.get_weights()]
            )
            for path, layer in layers.items()
            if isinstance(layer, keras.layers.Dense)
        }

    def on_train_batch_begin(self, batch, logs=None):
        self.before.append(self.save())

    def on_train_batch_end(self, batch, logs=None):
        self.after.append(self.save())

    def ratio(self, layer, first, last=None):
        """Of the steps from `first` to `last`."""
        before, after = self.before[first][layer], self.after[last or first][layer]
        return np.linalg.norm(after - before) / np.linalg.norm(before)


def build(optimizer="sgd", **keywords):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(16, activation="relu", bias_initializer="ones", name="first"),
            layers.Dense(8, activation="relu", name="second"),
            layers.Dense(2, dtype="float32", name="head"),
        ]
    )
    model.compile(optimizer, "mse", **keywords)
    return model


def fit(model, *callbacks, epochs=1, x=X, y=Y):
    return model.fit(
        x,
        y,
        batch_size=8,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[*callbacks],
    )


def read(folder):
    with open(folder / "monitor.csv", newline="") as file:
        return list(csv.DictReader(file))


OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(0.05),
    "clipped SGD with momentum": lambda: optimizers.SGD(
        0.05, momentum=0.9, nesterov=True, global_clipnorm=0.1
    ),
    "Adam": lambda: optimizers.Adam(1e-3),
    "AdamW with decay": lambda: optimizers.AdamW(1e-3, weight_decay=0.1),
    "rates by layer": lambda: LayerwiseLearningRate(
        optimizers.Adam(1e-2), {"/first/": 0.01, ".*": 1.0}
    ),
    "a schedule": lambda: optimizers.Adam(
        optimizers.schedules.ExponentialDecay(1e-2, 1, 0.5)
    ),
    "an average": lambda: optimizers.SGD(0.05, use_ema=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_update_ratio(tmp_path, name):
    model, saved = build(OPTIMIZERS[name]()), Saved()
    monitor = TrainingMonitor(tmp_path, update_freq=1)
    fit(model, monitor, saved)
    assert [row["step"] for row in monitor.rows] == np.repeat(range(STEPS), 3).tolist()
    for row in monitor.rows:
        expected = saved.ratio(row["layer"], row["step"])
        assert expected > 0 and abs(row["update_ratio"] / expected - 1) < 1e-5
        before = np.linalg.norm(saved.before[row["step"]][row["layer"]])
        assert abs(row["weight_norm"] / before - 1) < 1e-5
        assert (row["updated"], row["steps"], row["trainable"]) == (1, 1, 1)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_update_ratio_in_mixed_precision(tmp_path, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model, saved = build("adam"), Saved()
        monitor = TrainingMonitor(tmp_path, LayerProbe(X, Y), update_freq=1)
        fit(model, monitor, saved)
    finally:
        keras.config.set_dtype_policy(before)
    scaled = isinstance(model.optimizer, optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    # The first loss scale may be too large.
    assert any(row["updated"] for row in monitor.rows)
    for row in monitor.rows:
        expected = saved.ratio(row["layer"], row["step"])
        assert row["update_ratio"] == pytest.approx(expected, rel=1e-5, abs=0)
        assert row["learning_rate"] == pytest.approx(1e-3)
        assert row["gradient_norm"] > 0


def test_a_step_that_the_loss_scale_skips_says_so(tmp_path):
    model = build(optimizers.LossScaleOptimizer(optimizers.SGD(0.01)))
    monitor = TrainingMonitor(tmp_path, update_freq=1)
    x = X.copy()
    x[:8] = np.inf
    fit(model, monitor, x=x)
    updated = {row["step"]: row["updated"] for row in monitor.rows}
    assert updated == {step: int(step > 0) for step in range(STEPS)}
    assert monitor.rows[0]["update_ratio"] == 0


@pytest.mark.parametrize("wrapped", [False, True])
def test_update_ratio_under_accumulation(tmp_path, wrapped):
    optimizer = optimizers.Adam(1e-2, gradient_accumulation_steps=3)
    model, saved = build(optimizer), Saved()
    if wrapped:
        model.compile(optimizers.LossScaleOptimizer(optimizer), "mse")
    monitor = TrainingMonitor(tmp_path, update_freq=1)
    fit(model, monitor, saved)
    updated = [row["updated"] for row in monitor.rows if row["layer"].endswith("head")]
    assert updated == [0, 0, 1, 0, 0, 1]
    for row in monitor.rows:
        expected = saved.ratio(row["layer"], row["step"])
        assert row["update_ratio"] == pytest.approx(expected, rel=1e-5, abs=0)


def test_an_update_is_awaited(tmp_path):
    optimizer = optimizers.Adam(1e-2, gradient_accumulation_steps=3)
    model, saved = build(optimizer), Saved()
    monitor = TrainingMonitor(tmp_path, update_freq=4)
    fit(model, monitor, saved)
    assert {(r["step"], r["steps"], r["updated"]) for r in monitor.rows} == {
        (0, 3, 1),
        (4, 2, 1),
    }
    for row in monitor.rows:
        expected = saved.ratio(
            row["layer"], row["step"], row["step"] + row["steps"] - 1
        )
        assert abs(row["update_ratio"] / expected - 1) < 1e-5


def test_several_steps_an_execution(tmp_path):
    # torch takes 1 only.
    size = 1 if keras.backend.backend() == "torch" else 2
    model, saved = build("adam", steps_per_execution=size), Saved()
    monitor = TrainingMonitor(tmp_path, update_freq=1)
    fit(model, monitor, saved)
    expected = {(step, size) for step in range(0, STEPS, size)}
    assert {(row["step"], row["steps"]) for row in monitor.rows} == expected
    for row in monitor.rows:
        expected = saved.ratio(row["layer"], row["step"] // size)
        assert abs(row["update_ratio"] / expected - 1) < 1e-5


def test_training_is_the_same_with_it(tmp_path):
    def weights(*callbacks):
        keras.utils.set_random_seed(0)
        stack = [layers.Dense(8), layers.BatchNormalization(), layers.Dropout(0.3)]
        model = keras.Sequential([keras.Input((6,)), *stack, layers.Dense(2)])
        model.compile("adam", "mse", metrics=["mae"])
        history = fit(model, *callbacks, epochs=2).history
        return [np.array(v) for v in model.variables], history

    one, curves = weights()
    two, other = weights(TrainingMonitor(tmp_path, LayerProbe(X, Y), update_freq=2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for name in curves:
        np.testing.assert_allclose(curves[name], other[name], rtol=1e-5)


class TwoRates(keras.Model):
    """A `train_step` of its own is not needed to train by hand: all backends do."""

    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(5, activation="relu")
        self.head = layers.Dense(2)

    def call(self, x):
        return self.head(self.hidden(x))

    def train_step(self, *arguments):
        return super().train_step(*arguments)


def test_subclassed_with_its_own_train_step_and_not_built(tmp_path):
    model, saved = TwoRates(), Saved()
    model.compile("adam", "mse")
    monitor = TrainingMonitor(tmp_path, LayerProbe(X, Y), update_freq=2)
    fit(model, monitor, saved)
    assert [row["step"] for row in monitor.rows] == [0, 0, 2, 2, 4, 4]
    for row in monitor.rows:
        if row["layer"] in saved.before[row["step"]]:
            expected = saved.ratio(row["layer"], row["step"])
            assert abs(row["update_ratio"] / expected - 1) < 1e-5
    assert {row["kind"] for row in monitor.rows} == {"Dense"}
    assert all(row["gradient_norm"] > 0 for row in monitor.rows)


def test_several_inputs_outputs_and_optimizers(tmp_path):
    one, two = keras.Input((6,), name="one"), keras.Input((2,), name="two")
    x = layers.Concatenate()([layers.Dense(4, activation="relu")(one), two])
    outputs = {"a": layers.Dense(2, name="a")(x), "b": layers.Dense(1, name="b")(x)}
    model = keras.Model({"one": one, "two": two}, outputs)
    model.compile("sgd", {"a": "mse", "b": "mse"})
    batch, labels = {"one": X, "two": Y}, {"a": Y, "b": Y[:, :1]}
    monitor = TrainingMonitor(tmp_path, LayerProbe(batch, labels), update_freq=3)
    model.fit(batch, labels, batch_size=8, verbose=0, callbacks=[monitor])
    assert len(monitor.rows) == 6
    assert all(row["update_ratio"] > 0 < row["gradient_norm"] for row in monitor.rows)


def test_frozen_layers_say_so(tmp_path):
    model = build()
    model.layers[1].trainable = False
    model.compile("sgd", "mse")
    monitor = TrainingMonitor(tmp_path, update_freq=6)
    fit(model, monitor)
    first, second, head = monitor.rows
    assert (first["trainable"], second["trainable"], head["trainable"]) == (1, 0, 1)
    assert second["update_ratio"] is None
    assert first["update_ratio"] > 0 < head["update_ratio"]


def test_weights_of_zero_have_no_ratio(tmp_path):
    model = build()
    model.layers[-1].kernel.assign(np.zeros((8, 2)))
    monitor = TrainingMonitor(tmp_path, update_freq=6)
    fit(model, monitor)
    assert monitor.rows[-1]["update_ratio"] is None
    assert monitor.rows[-1]["weight_norm"] == 0


def test_the_file_is_the_table(tmp_path):
    monitor = TrainingMonitor(tmp_path, LayerProbe(X, Y), update_freq=2)
    fit(build("adam"), monitor, epochs=2)
    rows = read(tmp_path)
    assert len(rows) == len(monitor.rows) == 3 * 6
    for text, row in zip(rows, monitor.rows, strict=True):
        assert list(text) == list(row)
        for name, value in row.items():
            assert text[name] == ("" if value is None else str(value))
    assert {row["epoch"] for row in rows} == {"0", "1"}


def test_parquet(tmp_path):
    from pyarrow import parquet

    monitor = TrainingMonitor(tmp_path, LayerProbe(X, Y), update_freq=3, parquet=True)
    fit(build(), monitor)
    assert parquet.read_table(tmp_path / "monitor.parquet").to_pylist() == monitor.rows


def test_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monitor = TrainingMonitor(
        tmp_path, LayerProbe(X, Y), update_freq=2, tensorboard=True
    )
    model = build()
    fit(model, monitor)
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    events.Reload()
    tag = f"update_ratio/{model.layers[0].path}"
    assert tag in events.Tags()["tensors"]
    values = [(e.step, e.tensor_proto.float_val[0]) for e in events.Tensors(tag)]
    rows = [row for row in monitor.rows if row["layer"] == model.layers[0].path]
    expected = [(row["step"], np.float32(row["update_ratio"])) for row in rows]
    assert values == expected


def test_memory_does_not_grow(tmp_path):
    class Short(TrainingMonitor):
        pass

    model = build()
    monitor = TrainingMonitor(tmp_path, update_freq=1)
    fit(model, monitor, epochs=40)
    steps = sorted({row["step"] for row in monitor.rows})
    assert 50 <= len(steps) <= 100
    assert steps[0] == 0 and steps[-1] == 40 * STEPS - 1
    assert len(read(tmp_path)) == 3 * 40 * STEPS


def test_a_resumed_run_goes_on(tmp_path):
    def run(epochs, folder):
        model = build("adam")
        monitor = TrainingMonitor(folder, LayerProbe(X, Y), update_freq=4)
        fit(model, monitor, FullState(folder / "state"), epochs=epochs)

    run(4, tmp_path / "whole")
    run(2, tmp_path / "parts")
    run(4, tmp_path / "parts")
    whole, parts = read(tmp_path / "whole"), read(tmp_path / "parts")
    assert [row["step"] for row in whole] == [row["step"] for row in parts]
    for a, b in zip(whole, parts, strict=True):
        assert float(a["update_ratio"]) == pytest.approx(float(b["update_ratio"]), 1e-4)


def test_another_run_starts_anew(tmp_path):
    fit(build(), TrainingMonitor(tmp_path, update_freq=2))
    fit(build(), TrainingMonitor(tmp_path, update_freq=6))
    assert {row["step"] for row in read(tmp_path)} == {"0"}


@pytest.mark.parametrize(
    "bad, error",
    [
        ({"update_freq": 0}, ValueError),
        ({"probe": (X, Y)}, ValueError),
    ],
)
def test_bad_arguments(tmp_path, bad, error):
    with pytest.raises(error, match="Received: "):
        TrainingMonitor(tmp_path, **bad)


@pytest.mark.parametrize("package", ["pyarrow", "tensorboard"])
def test_what_is_not_installed_is_named(tmp_path, monkeypatch, package):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    name = {"pyarrow": "parquet"}.get(package, package)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        TrainingMonitor(tmp_path, **{name: True})
    assert package in sys.modules or not (tmp_path / "monitor.csv").exists()
