"""Warm trials: the same results as cold ones, and as `fit`."""

import keras
import keras_tuner
import numpy as np
import pytest

from hornbook.tuning.trials.runner import Runner
from hornbook.tuning.warm.compiled_model import CompiledModelCache
from hornbook.tuning.warm.fit_arguments import parse_fit_arguments
from hornbook.tuning.warm.fit_loop import DeviceCache, epoch_order, fit

COMPILES = keras.backend.backend() != "torch"
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(70, 6)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")
FIT = {
    "epochs": 3,
    "batch_size": 16,
    "validation_data": (X[:30], Y[:30]),
    "verbose": 0,
}


def build(hp):
    factor = keras.regularizers.L2(hp.Float("l2", 1e-5, 1e-2, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(
                hp.Choice("units", [8, 4]), activation="relu", kernel_regularizer=factor
            ),
            keras.layers.BatchNormalization(momentum=0.8),
            keras.layers.Dropout(hp.Float("dropout", 0.1, 0.6)),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    optimizer = keras.optimizers.AdamW(
        hp.Float("learning_rate", 1e-3, 1e-1, sampling="log"),
        weight_decay=hp.Float("weight_decay", 1e-4, 1e-1, sampling="log"),
        beta_1=hp.Float("beta", 0.7, 0.95),
    )
    smoothing = hp.Float("smoothing", 0.01, 0.2)
    loss = keras.losses.BinaryCrossentropy(label_smoothing=smoothing)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def make_runner(build=build, **arguments):
    said = []
    objective = keras_tuner.Objective("val_loss", "min")
    runner = Runner(build, objective, seed=1, say=said.append, **arguments)
    return runner, said


def draw(build, seed, **fixed):
    hp = keras_tuner.HyperParameters()
    build(hp)
    for i, each in enumerate(hp.space):
        hp.values[each.name] = each.random_sample(seed + i)
    hp.values.update(fixed)
    return hp


def curves(run):
    return {name: np.array(values) for name, values in run["curves"].items()}


def train(runner, build, seeds, **fixed):
    return [
        runner.train(draw(build, 10 * seed, **fixed), seed, X, Y, **FIT)
        for seed in seeds
    ]


def assert_equal(one, other, **tolerance):
    one, other = curves(one), curves(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], err_msg=name, **tolerance)


class TestWarm:
    def test_warm_equals_cold_bit_for_bit(self):
        warm_runner, said = make_runner()
        cold_runner, _ = make_runner(warm=False)
        warm = train(warm_runner, build, range(3), units=8)
        cold = train(cold_runner, build, range(3), units=8)
        for one, other in zip(warm, cold, strict=True):
            assert_equal(one, other, rtol=0, atol=0)
        if COMPILES:
            assert [run["how"] for run in warm] == ["compiled", "warm", "warm"]
            assert {run["how"] for run in cold} == {"compiled"}
        assert said == []
        assert len({run["curves"]["loss"][-1] for run in warm}) == 3

    def test_new_shapes_compile_and_old_ones_are_kept(self):
        runner, _ = make_runner()
        how = [
            train(runner, build, [seed], units=units)[0]["how"]
            for seed, units in enumerate([8, 4, 8, 4])
        ]
        if COMPILES:
            assert how == ["compiled", "compiled", "warm", "warm"]

    def test_equals_fit_with_the_same_batches(self):
        runner, _ = make_runner()
        # On torch, dropout draws from a stream that `fit` draws from too.
        hp = draw(build, 5, units=8, **({} if COMPILES else {"dropout": 0.0}))
        train(runner, build, [1], units=8)  # so that the next is warm
        run = runner.train(hp, 7, X, Y, **FIT)

        class Batches(keras.utils.PyDataset):
            """The batches of a warm trial. Keras peeks before the first epoch."""

            epoch = 0

            def __len__(self):
                return 5

            def __getitem__(self, index):
                order = epoch_order(np.arange(70), True, 7, self.epoch)
                chosen = order[16 * index : 16 * index + 16]
                return X[chosen], Y[chosen]

        batches = Batches()

        class Epoch(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                batches.epoch = epoch

        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(7)
        model = build(hp)
        history = model.fit(
            batches,
            epochs=3,
            shuffle=False,
            validation_data=FIT["validation_data"],
            validation_batch_size=16,
            callbacks=[Epoch()],
            verbose=0,
        )
        assert_equal(run, {"curves": history.history}, rtol=2e-4, atol=1e-5)

    def test_value_that_must_be_known_compiles_again_and_is_right(self):
        @keras.saving.register_keras_serializable(package="test_warm")
        class Rounded(keras.layers.Layer):
            def __init__(self, factor, **kwargs):
                super().__init__(**kwargs)
                self.factor = factor

            def call(self, x):
                return x * round(self.factor, 2)

        def build(hp):
            model = keras.Sequential(
                [
                    keras.Input((6,)),
                    Rounded(hp.Float("factor", 1.1, 3.0)),
                    keras.layers.Dense(1),
                ]
            )
            model.compile("sgd", "mse")
            return model

        runner, said = make_runner(build)
        warm = train(runner, build, range(3))
        cold = train(make_runner(build, warm=False)[0], build, range(3))
        for one, other in zip(warm, cold, strict=True):
            assert_equal(one, other, rtol=1e-6, atol=0)
        if COMPILES:
            assert {run["how"] for run in warm} == {"compiled"}
            assert any("factor" in sentence for sentence in said)

    def test_copy_that_is_made_while_tracing_is_noticed(self):
        def build(hp):
            inputs = keras.Input((6,))
            outputs = [keras.layers.Dense(1, name=name)(inputs) for name in "ab"]
            model = keras.Model(inputs, outputs)
            weights = [hp.Float("weight", 0.2, 0.9), 1.0]
            model.compile("sgd", ["mse", "mae"], loss_weights=weights)
            return model

        def run_all(runner):
            data = X, [Y, Y]
            return [
                runner.train(
                    draw(build, 10 * s),
                    s,
                    *data,
                    epochs=2,
                    verbose=0,
                    validation_data=data,
                )
                for s in range(4)
            ]

        warm = run_all(make_runner(build)[0])
        cold = run_all(make_runner(build, warm=False)[0])
        for one, other in zip(warm, cold, strict=True):
            assert_equal(one, other, rtol=1e-6, atol=0)

    def test_float_in_a_loss_function_is_warm(self):
        def build(hp):
            weight = hp.Float("weight", 0.1, 0.9)

            def loss(y, p):
                return weight * keras.ops.square(y - p)

            model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
            model.compile("sgd", loss)
            return model

        warm = train(make_runner(build)[0], build, range(3))
        cold = train(make_runner(build, warm=False)[0], build, range(3))
        for one, other in zip(warm, cold, strict=True):
            assert_equal(one, other, rtol=1e-6, atol=0)
        if COMPILES:
            assert [run["how"] for run in warm] == ["compiled", "warm", "warm"]

    def test_schedule_is_warm(self):
        def build(hp):
            model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
            rate = hp.Float("learning_rate", 1e-3, 1e-1)
            schedule = keras.optimizers.schedules.CosineDecay(rate, 12)
            model.compile(keras.optimizers.SGD(schedule, momentum=0.9), "mse")
            return model

        warm = train(make_runner(build)[0], build, range(3))
        cold = train(make_runner(build, warm=False)[0], build, range(3))
        for one, other in zip(warm, cold, strict=True):
            assert_equal(one, other, rtol=1e-6, atol=0)
        if COMPILES:
            assert [run["how"] for run in warm] == ["compiled", "warm", "warm"]


class TestCallbacks:
    def test_callback_that_sets_the_rate_and_one_that_stops(self):
        runner, _ = make_runner()
        schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)
        stop = keras.callbacks.EarlyStopping("learning_rate", patience=1, mode="min")
        run = runner.train(
            draw(build, 3, units=8), 0, X, Y, callbacks=[schedule, stop], **FIT
        )
        assert run["curves"]["learning_rate"] == [pytest.approx(0.1)] * 2
        assert run["stopped_early"]

    def test_callback_that_changes_the_model_spoils_its_compiled_model_only(self):
        class Regularize(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 1:
                    kernel = self.model.layers[0].kernel
                    kernel.regularizer = keras.regularizers.L1(10.0)
                    self.model.make_train_function(force=True)

        runner, _ = make_runner()
        hp = draw(build, 3, units=8)
        before = runner.train(hp, 0, X, Y, **FIT)
        changed = runner.train(hp, 0, X, Y, callbacks=[Regularize()], **FIT)
        assert changed["curves"]["loss"][0] == before["curves"]["loss"][0]
        assert changed["curves"]["loss"][1] > before["curves"]["loss"][1] + 1
        assert_equal(before, runner.train(hp, 0, X, Y, **FIT), rtol=0, atol=0)


class TestCache:
    def test_few_compiled_models_are_kept(self):
        cache = CompiledModelCache(print, size=1)
        for units in (4, 8):
            model = build(draw(build, 1, units=units))
            arguments = parse_fit_arguments((X, Y), {"epochs": 1, "verbose": 0})
            compiled, _ = cache.find(model, arguments.first_batch)
            fit(compiled, arguments, DeviceCache(), 0)
        assert len(cache.models) == (1 if COMPILES else 0)
