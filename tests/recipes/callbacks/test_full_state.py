import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import layers

from hornbook.recipes.callbacks.full_state import FullState

JOB = pathlib.Path(__file__).with_name("full_state_job.py")
X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = np.sin(X.sum(1, keepdims=True))


def make_model(optimizer="adam", units=4, **kwargs):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(units, "relu"),
            layers.Dropout(0.5),
            layers.Dense(1),
        ],
        **kwargs,
    )
    # JAX would compile each operation by itself.
    eagerly = keras.backend.backend() != "jax"
    model.compile(optimizer, "mse", run_eagerly=eagerly)
    model.optimizer.build(model.trainable_variables)
    return model


def everything(model):
    return model.variables + model.optimizer.variables


def numpy(variables):
    return [keras.ops.convert_to_numpy(v).copy() for v in variables]


class Training:
    """A model that can begin anew, as in a new process, without compiling again."""

    def __init__(self, optimizer="adam"):
        self.model = make_model(optimizer)
        self.start = numpy(everything(self.model))
        self.fit(epochs=1)  # On torch the first `fit` draws random numbers to build.

    def begin(self):
        keras.utils.set_random_seed(1)
        for v, value in zip(everything(self.model), self.start, strict=True):
            v.assign(value)

    def fit(self, *callbacks, epochs=4, **kwargs):
        """Returns the model's and the optimizer's variables, and History."""
        kwargs = {"batch_size": 5, "shuffle": False, "verbose": 0, **kwargs}
        history = self.model.fit(X, Y, epochs=epochs, callbacks=callbacks, **kwargs)
        return numpy(everything(self.model)), history.epoch, history.history

    def fit_from_begin(self, *callbacks, **kwargs):
        self.begin()
        return self.fit(*callbacks, **kwargs)

    def fit_interrupted(self, epoch, *callbacks, **kwargs):
        with pytest.raises(Interrupted):
            self.fit(Interrupt(epoch), *callbacks, **kwargs)

    def fit_disturbed(self, *callbacks, **kwargs):
        """Fits when nothing is as it was, so that all must come from the state."""
        keras.utils.set_random_seed(2)
        for v in everything(self.model):
            v.assign(v + 1)
        return self.fit(*callbacks, **kwargs)


@pytest.fixture(scope="module")
def training():
    return Training()


class Interrupted(Exception):
    pass


class Interrupt(keras.callbacks.Callback):
    """Ends training as a kill would, in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch
        self.now = None

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch == 1:
            raise Interrupted


def assert_same(one, two):
    for a, b in zip(one[0], two[0], strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    assert one[1:] == two[1:]


def begin(model, directory, *others):
    """Begins a training without doing any; returns its callbacks, ours the first."""
    state = FullState(directory)
    callbacks = keras.callbacks.CallbackList(
        [*others, state], add_history=True, model=model, epochs=9
    )
    callbacks.on_train_begin()
    return state, callbacks


def save(model, directory, *others, epochs=1):
    _, callbacks = begin(model, directory, *others)
    for epoch in range(epochs):
        callbacks.on_epoch_begin(epoch)
        callbacks.on_epoch_end(epoch, {"loss": 1.5})


def train(folder, *moments, saver="FullState"):
    """Runs the job in killed processes; returns both ends, and epochs done."""
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    job = subprocess.run(
        [sys.executable, JOB, folder, saver, *moments],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert job.returncode == 0, job.stderr
    ends = [dict(np.load(folder / f"{name}.npz")) for name in ("whole", "killed")]
    return *ends, json.loads(job.stdout)


def check_killed(folder, *moments):
    whole, killed, done = train(folder, *moments)
    assert whole.keys() == killed.keys()
    for name in whole:
        np.testing.assert_array_equal(
            whole[name], killed[name], strict=True, err_msg=f"{name}, {moments=}"
        )
    # What was to be exact has been exercised.
    rates, epochs = whole["history learning_rate"], whole["epoch"]
    assert rates[-1] < rates[0]
    assert epochs[-1] < 19
    assert sum(key.endswith("seed_generator_state") for key in whole) == 3
    kept = sorted(path.name for path in (folder / "killed").iterdir())
    assert kept == [f"epoch-{epochs[-1] + 1:05d}.npz", "latest"]
    return done


@pytest.mark.heavy
def test_killed_training_ends_as_an_undisturbed_one(tmp_path):
    at_random = f"{random.uniform(0, 0.3):.3f}"
    done = check_killed(tmp_path, "arrays:2", "latest:1", at_random)
    assert done[:3] == [0, 1, 1]


@pytest.mark.slow
def test_ten_kills(tmp_path):
    at_random = [f"{random.uniform(0, 0.15):.3f}" for _ in range(4)]
    moments = ["arrays:1", "latest:1", "batch:5", "removal:2", "batch:13", "arrays:1"]
    done = check_killed(tmp_path, *moments, *at_random)
    assert done[:7] == [0, 0, 0, 0, 3, 4, 4]


@pytest.mark.slow
def test_backup_and_restore_ends_elsewhere(tmp_path):
    whole, killed, done = train(tmp_path, "batch:20", saver="BackupAndRestore")
    assert done == [0, 1]
    assert any((whole[k] != killed[k]).any() for k in whole if k.startswith("model"))
    assert killed["epoch"][0] == 1  # Its History lacks what was before.


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "averaged": lambda: keras.optimizers.AdamW(
        0.01, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=4
    ),
    "accumulating": lambda: keras.optimizers.RMSprop(
        keras.optimizers.schedules.CosineDecay(0.1, 9), gradient_accumulation_steps=4
    ),
    "nadam": lambda: keras.optimizers.Nadam(0.01),
    "adafactor": lambda: keras.optimizers.Adafactor(),
    "loss_scale": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(), dynamic_growth_steps=5
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_resumes_exactly(name, tmp_path):
    training = Training(OPTIMIZERS[name]())
    whole = training.fit_from_begin()  # Without the callback, which disturbs nothing.
    training.begin()
    training.fit_interrupted(2, FullState(tmp_path))
    state = FullState(tmp_path)
    assert_same(whole, training.fit_disturbed(state))
    assert state.resumed_epoch == 2


def stock_callbacks(folder):
    """Reductions and stopping that `min_delta` decides on, and a checkpoint."""
    path = folder / "best.weights.h5"
    return [
        keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=0.3),
        keras.callbacks.ModelCheckpoint(
            path, "loss", save_best_only=True, save_weights_only=True
        ),
        keras.callbacks.EarlyStopping(
            "loss", patience=5, min_delta=0.3, restore_best_weights=True
        ),
    ]


def numbers(callback):
    return {k: v for k, v in vars(callback).items() if isinstance(v, int | float)}


def test_stock_callbacks_resume_twice(training, tmp_path):
    undisturbed = stock_callbacks(tmp_path)
    whole = training.fit_from_begin(*undisturbed, epochs=20)
    assert len(whole[1]) < 20
    assert len(set(whole[2]["learning_rate"])) > 1
    folder = tmp_path / "state"
    training.begin()
    for epoch in (2, 4):
        callbacks = [*stock_callbacks(tmp_path), FullState(folder)]
        training.fit_interrupted(epoch, *callbacks, epochs=20)
    resumed = stock_callbacks(tmp_path)
    again = training.fit_disturbed(*resumed, FullState(folder), epochs=20)
    assert_same(whole, again)
    assert [numbers(c) for c in resumed] == [numbers(c) for c in undisturbed]


class Draw(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.drawn = []

    def on_epoch_begin(self, epoch, logs=None):
        self.drawn += [random.gauss(0, 1), np.random.normal()]
        if keras.backend.backend() == "torch":
            import torch

            self.drawn.append(torch.rand(()).item())


def test_random_states_resume(training, tmp_path):
    whole, resumed = Draw(), Draw()
    training.fit_from_begin(whole)
    training.begin()
    training.fit_interrupted(2, Draw(), FullState(tmp_path))
    training.fit_disturbed(resumed, FullState(tmp_path))
    assert resumed.drawn == whole.drawn
    assert len(set(whole.drawn)) == len(whole.drawn)


def test_history_is_complete(training, tmp_path):
    kwargs = dict(validation_data=(X, Y), validation_freq=2)
    whole = training.fit_from_begin(**kwargs)
    training.begin()
    training.fit_interrupted(3, FullState(tmp_path), **kwargs)
    assert_same(whole, training.fit_disturbed(FullState(tmp_path), **kwargs))
    assert whole[1] == [0, 1, 2, 3]
    assert len(whole[2]["val_loss"]) == 2


def test_a_history_among_the_callbacks_is_not_doubled(training, tmp_path):
    whole = training.fit_from_begin()
    training.begin()
    training.fit_interrupted(2, keras.callbacks.History(), FullState(tmp_path))
    history = keras.callbacks.History()
    assert_same(whole, training.fit_disturbed(history, FullState(tmp_path), verbose=2))
    assert history.epoch == whole[1]


def test_completed_training_ends_at_once(training, tmp_path):
    whole = training.fit_from_begin(FullState(tmp_path))
    trained, state = Interrupt(epoch=None), FullState(tmp_path)
    assert_same(whole, training.fit_disturbed(trained, state))
    assert trained.now is None
    assert state.resumed_epoch == 4
    # The model is free to be trained anew.
    assert training.fit(epochs=2)[1] == [0, 1]


def test_stopped_training_stays_stopped(training, tmp_path):
    kwargs = dict(min_delta=9.0, patience=2, restore_best_weights=True)
    early = keras.callbacks.EarlyStopping("loss", **kwargs)
    whole = training.fit_from_begin(early, FullState(tmp_path), epochs=9)
    assert whole[1] == [0, 1, 2]
    early = keras.callbacks.EarlyStopping("loss", **kwargs)
    again = training.fit_disturbed(early, FullState(tmp_path), epochs=9)
    assert_same(whole, again)
    assert training.model.stop_training


def test_completed_training_goes_on_with_more_epochs(training, tmp_path):
    whole = training.fit_from_begin()
    training.fit_from_begin(FullState(tmp_path), epochs=2)
    assert_same(whole, training.fit_disturbed(FullState(tmp_path)))


def test_data_are_told_the_epoch(training, tmp_path):
    class Data:
        def __init__(self):
            self.epochs = []

        def set_epoch(self, epoch):
            self.epochs.append(epoch)

    data = Data()
    state = FullState(tmp_path, data)
    assert state.resumed_epoch is None
    training.fit(state, epochs=2)
    assert state.resumed_epoch is None
    assert data.epochs == [0, 1]
    training.fit(FullState(tmp_path, data), epochs=3)
    assert data.epochs == [0, 1, 2]
    with pytest.raises(ValueError, match=r"`set_epoch`. Received: data=\[1\]"):
        FullState(tmp_path, [1])


class Noisy(layers.Layer):
    """Keeps its seed generators where they are easily overlooked."""

    def __init__(self):
        super().__init__()
        self.noises = {"a": [layers.GaussianNoise(0.1)], "b": layers.AlphaDropout(0.2)}
        self.own = keras.random.SeedGenerator(5)

    def call(self, x):
        return self.noises["b"](self.noises["a"][0](x))

    def compute_output_shape(self, input_shape):
        return input_shape


def test_every_seed_generator_is_restored(tmp_path):
    spatial, noisy = layers.SpatialDropout1D(0.5), Noisy()
    both = layers.Bidirectional(layers.GRU(2, return_sequences=True))
    shift, shared = layers.RandomTranslation(0.1, 0.1), layers.GaussianDropout(0.3)
    nested = keras.Sequential([keras.Input((3, 2)), spatial])
    inputs = keras.Input((3, 2))
    x = layers.TimeDistributed(noisy)(both(nested(inputs)))
    x = layers.Reshape((3, 4, 1))(x)
    model = keras.Model(inputs, shared(layers.Flatten()(shared(shift(x)))))
    model.compile("sgd", "mse")
    owners = [both.forward_layer.cell, both.backward_layer.cell, spatial, shared]
    owners += [noisy.noises["a"][0], noisy.noises["b"]]
    seeds = [noisy.own, shift.generator, *(owner.seed_generator for owner in owners)]
    for i, seed in enumerate(seeds):
        seed.state.assign([i, 10 + i])
    save(model, tmp_path)
    for seed in seeds:
        seed.state.assign([99, 99])
    begin(model, tmp_path)
    states = numpy(seed.state for seed in seeds)
    np.testing.assert_array_equal(states, [[i, 10 + i] for i in range(8)])


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16"])
def test_other_precisions_are_restored_to_the_bit(policy, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model, other = make_model(), make_model()
    finally:
        keras.config.set_dtype_policy(before)
    for i, v in enumerate(everything(model)):
        v.assign(np.full(v.shape, i + 0.3))
    early, again = keras.callbacks.EarlyStopping(), keras.callbacks.EarlyStopping()
    state, _ = begin(model, tmp_path, early)
    early.best_weights = model.get_weights()
    state.on_epoch_end(0, {})
    begin(other, tmp_path, again)
    assert_same([numpy(everything(model))], [numpy(everything(other))])
    assert_same([early.best_weights], [again.best_weights])
    assert len({v.dtype for v in everything(model)}) > 1


class Storing(keras.callbacks.Callback):
    """Has attributes of each kind, all changed by training."""

    def __init__(self, patience):
        super().__init__()
        self.patience = patience
        self.unsupported = None

    def on_epoch_end(self, epoch, logs=None):
        self.log = {"epoch": epoch, 3: None, "worst": float("-inf")}
        self.nested = [True, ("text", {"a": [np.eye(3, dtype="float16").T[:1]]}), []]
        self.array = np.array(["a", "bc"])
        self.date = np.array("2026-11-23", "datetime64[D]")
        self.empty = np.zeros((0, 2))
        self.bits = np.full(3, 1 / 7, ml_dtypes.bfloat16)
        self.scalar = np.float32(1 / 9)
        self.same = self.zeros = np.zeros(3)
        self.unsupported = [1, object()]


def test_what_training_changed_in_other_callbacks_is_restored(tmp_path):
    model = make_model()
    save(model, tmp_path, Storing(1), epochs=2)
    saved, resumed = Storing(1), Storing(2)
    saved.on_epoch_end(1)
    begin(model, tmp_path, resumed)
    for name in ("log", "nested", "array", "date", "empty", "bits", "scalar", "zeros"):
        one, two = getattr(saved, name), getattr(resumed, name)
        np.testing.assert_equal(one, two)
        assert type(one) is type(two) or name == "date"
        assert getattr(one, "dtype", None) == getattr(two, "dtype", None)
    assert type(resumed.nested[1]) is tuple
    assert resumed.same is not resumed.zeros
    assert resumed.unsupported is None
    assert resumed.patience == 2


def test_callbacks_of_one_class_are_told_apart(tmp_path):
    model = make_model()
    several = [Draw(), Interrupt(0), Draw()]
    _, callbacks = begin(model, tmp_path, *several)
    several[2].drawn = [3.0]
    callbacks.on_epoch_end(0, {})
    resumed = [Draw(), Draw(), Interrupt(0)]
    begin(model, tmp_path, *resumed)
    assert [resumed[0].drawn, resumed[1].drawn] == [[], [3.0]]
    begin(model, tmp_path, Draw())  # A callback may be left out.


def test_a_model_made_anew_in_one_process_resumes(tmp_path):
    model, other = make_model(), make_model()
    assert model.layers[0].kernel.path != other.layers[0].kernel.path
    save(model, tmp_path)
    begin(other, tmp_path)
    assert_same([numpy(everything(model))], [numpy(everything(other))])


def test_folder_holds_one_state_and_no_leftovers(tmp_path):
    model = make_model()
    (tmp_path / "epoch-00001.npz").write_bytes(b"half of a")
    state, _ = begin(model, tmp_path)
    assert state.resumed_epoch is None
    save(model, tmp_path, epochs=2)
    sha256, name = (tmp_path / "latest").read_text().split()
    assert sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    (tmp_path / "epoch-00003.npz").write_bytes(b"half of a")
    (tmp_path / "latest.new").write_text("half of a")
    (tmp_path / "notes.txt").write_text("mine")
    state, callbacks = begin(model, tmp_path)
    assert state.resumed_epoch == 2
    assert not (tmp_path / "epoch-00003.npz").exists()
    callbacks.on_epoch_end(2, {})
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["epoch-00003.npz", "latest", "notes.txt"]
    with np.load(tmp_path / "epoch-00003.npz", allow_pickle=False) as file:
        assert all(file[key].dtype != object for key in file)


def flip(content):
    return content[:20] + bytes([content[20] ^ 1]) + content[21:]


def cut(content):
    return content[:-1]


def empty(content):
    return b""


@pytest.mark.parametrize("name", ["latest", "epoch-00002.npz"])
@pytest.mark.parametrize("damage", [flip, cut, empty])
def test_a_damaged_state_is_refused(name, damage, tmp_path):
    model = make_model()
    save(model, tmp_path, epochs=2)
    path, before = tmp_path / name, numpy(everything(model))
    content = path.read_bytes()
    path.write_bytes(damage(content))
    with pytest.raises(ValueError, match=r"damaged.*missing or has changed") as error:
        begin(model, tmp_path)
    assert name in str(error.value) or damage is flip  # A name of no file may be read.
    assert f"delete `{tmp_path}` to start from the beginning" in str(error.value)
    assert str(error.value).endswith(f"Received: backup_dir={tmp_path}")
    assert_same([before], [numpy(everything(model))])
    path.write_bytes(content)
    assert begin(model, tmp_path)[0].resumed_epoch == 2


def test_a_missing_file_is_refused(tmp_path):
    model = make_model()
    save(model, tmp_path)
    (tmp_path / "epoch-00001.npz").unlink()
    with pytest.raises(ValueError, match=r"epoch-00001\.npz` is missing"):
        begin(model, tmp_path)


def test_a_state_of_another_training_is_refused(tmp_path):
    model = make_model()
    save(model, tmp_path)
    with pytest.raises(ValueError, match=r"another training.*\[3, 4\].*\[3, 5\]"):
        begin(make_model(units=5), tmp_path)
    with pytest.raises(ValueError, match=r"has \['model/other/.*Received: model=<"):
        begin(make_model(name="other"), tmp_path)
    with pytest.raises(ValueError, match=r"optimizer/.*_momentum.*_velocity"):
        begin(make_model("rmsprop"), tmp_path)
    frozen = make_model("sgd")
    with pytest.raises(ValueError, match=r"has \['optimizer/.*where this one has None"):
        begin(frozen, tmp_path)


def test_a_state_of_another_backend_is_refused(tmp_path):
    model = make_model()
    save(model, tmp_path)
    path = tmp_path / "epoch-00001.npz"
    with np.load(path) as file:
        arrays = dict(file)
    text = bytes(arrays["state"]).replace(keras.backend.backend().encode(), b"abacus")
    arrays["state"] = np.frombuffer(text, "uint8")
    np.savez(path, **arrays)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "latest").write_text(f"{sha256}  {path.name}\n")
    with pytest.raises(ValueError, match=r"\['backend', 'abacus'\]"):
        begin(model, tmp_path)


def test_a_wrong_place_is_refused(training, tmp_path):
    early = keras.callbacks.EarlyStopping("loss")
    with pytest.raises(ValueError, match=r"last.*\['FullState', 'EarlyStopping', 'Hi"):
        training.fit(FullState(tmp_path), early)
    state = FullState(tmp_path)
    state.set_model(training.model)
    inside = keras.callbacks.LambdaCallback(on_train_begin=state.on_train_begin)
    with pytest.raises(ValueError, match=r"last.*\['LambdaCallback', 'History'\]"):
        training.fit(inside)
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_built_is_refused(tmp_path):
    model = keras.Sequential([layers.Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match=r"built model.*Received: model=<Sequential"):
        begin(model, tmp_path)
