"""Trials side by side: each as it would be by itself."""

import json
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest

from hornbook import tuning
from hornbook.errors import InputError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(70, 6)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")
FIT = {
    "epochs": 4,
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
    )
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    return model


def make(folder, build=build, kind=tuning.RandomSearch, **arguments):
    settings = {"objective": "val_loss", "max_trials": 5, "seed": 1} | arguments
    return kind(build, directory=str(folder), project_name="p", **settings)


def searched(folder, callbacks=(), fit=FIT, **arguments):
    tuner = make(folder, **arguments)
    tuner.search(X, Y, callbacks=list(callbacks), **fit)
    return runs_of(tuner)


def runs_of(tuner):
    paths = sorted(Path(tuner.project_dir).glob("trial_*/hornbook.json"))
    return [run for path in paths for run in json.loads(path.read_text())["runs"]]


def assert_equal(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert (a["seed"], a["epochs"]) == (b["seed"], b["epochs"])
        assert a["curves"].keys() == b["curves"].keys()
        for name, curve in a["curves"].items():
            np.testing.assert_allclose(
                curve, b["curves"][name], rtol=1e-4, atol=1e-5, err_msg=name
            )


class Rounded(keras.layers.Layer):
    """Needs its float while it is traced."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * float(self.factor)


if keras.backend.backend() == "jax":

    class TestPopulation:
        def test_each_is_as_by_itself(self, tmp_path):
            alone = searched(tmp_path / "alone")
            together = searched(tmp_path / "together", population=4)
            assert_equal(alone, together)
            assert {run["how"] for run in together} == {"compiled", "warm"}
            assert len({run["curves"]["loss"][0] for run in together}) == 5

        def test_those_that_stop_early_leave_the_others_alone(self, tmp_path):
            stop = keras.callbacks.EarlyStopping(
                "val_loss", patience=1, restore_best_weights=True
            )
            slower = keras.callbacks.ReduceLROnPlateau("loss", 0.5, 1, min_delta=0.1)
            rule = {"callbacks": [stop, slower], "fit": FIT | {"epochs": 9}}
            alone = searched(tmp_path / "alone", **rule)
            together = searched(tmp_path / "together", population=3, **rule)
            assert_equal(alone, together)
            assert len({run["epochs"] for run in together}) > 1
            rates = [run["curves"]["learning_rate"] for run in together]
            assert any(len(set(rate)) > 1 for rate in rates)

        def test_executions_and_folds(self, tmp_path):
            fit = {"epochs": 1, "batch_size": 16, "verbose": 0}
            rule = {"max_trials": 2, "executions_per_trial": 2, "folds": 2, "fit": fit}
            alone = searched(tmp_path / "alone", **rule)
            together = searched(tmp_path / "together", population=2, **rule)
            assert_equal(alone, together)
            assert len(together) == 8

        def test_float_that_must_be_known(self, tmp_path):
            def build(hp):
                rounded = Rounded(hp.Choice("factor", [0.25, 0.5]))
                model = keras.Sequential(
                    [keras.Input((6,)), rounded, keras.layers.Dense(1)]
                )
                rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
                model.compile(keras.optimizers.SGD(rate), "mse")
                return model

            alone = searched(tmp_path / "alone", build=build)
            together = searched(tmp_path / "together", build=build, population=5)
            assert_equal(alone, together)

        def test_what_does_not_fit_is_halved(self, tmp_path, monkeypatch, capsys):
            from hornbook.tuning.warm.population import PopulationEpochs

            run_together = PopulationEpochs.run_together

            def run_few(self, requests):
                if len(requests) > 2:
                    raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")
                return run_together(self, requests)

            alone = searched(tmp_path / "alone")
            monkeypatch.setattr(PopulationEpochs, "run_together", run_few)
            together = searched(tmp_path / "together", population=5)
            assert_equal(alone, together)
            assert "models are trained at once" in capsys.readouterr().out

        def test_goes_on_after_an_interruption(self, tmp_path):
            class Interrupt(keras.callbacks.Callback):
                def on_epoch_end(self, epoch, logs=None):
                    if armed and epoch == 2:
                        raise KeyboardInterrupt

            armed = [True]
            tuner = make(tmp_path / "two", population=3, save_every=0.0)
            with pytest.raises(KeyboardInterrupt):
                tuner.search(X, Y, callbacks=[Interrupt()], **FIT)
            armed.clear()
            again = searched(tmp_path / "two", population=3, save_every=0.0)
            assert_equal(searched(tmp_path / "alone"), again)

        def test_failure_of_one_is_its_own(self, tmp_path, capsys):
            def build(hp):
                model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
                rate = hp.Choice("learning_rate", [0.01, 0.02, float("inf")])
                model.compile(keras.optimizers.SGD(rate), "mse")
                return model

            tuner = make(tmp_path, build, population=3, max_trials=3)
            tuner.search(X, Y, **FIT)
            statuses = [trial.status for trial in tuner.oracle.trials.values()]
            assert sorted(statuses) == ["COMPLETED", "COMPLETED", "FAILED"]
            assert "became nan" in capsys.readouterr().out

        def test_training_of_ones_own_is_refused(self, tmp_path):
            class MyHyperModel(keras_tuner.HyperModel):
                def build(self, hp):
                    return build(hp)

                def fit(self, hp, model, *args, **kwargs):
                    return model.fit(*args, **kwargs)

            with pytest.raises(InputError, match="of your own"):
                make(tmp_path, MyHyperModel(), population=2)
