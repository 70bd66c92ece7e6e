"""`RandomSearch` and its kin: oracles, scores, seeds, folders."""

import json
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest

from hornbook import tuning
from hornbook.errors import InputError
from hornbook.tuning.search import project
from hornbook.tuning.trials.seeds import run_seed

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")
FIT = {"epochs": 2, "validation_data": (X, Y), "verbose": 0}


def compiled(*layers, rate=0.01):
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate), loss, metrics=["accuracy"])
    return model


def build(hp):
    return compiled(rate=hp.Float("learning_rate", 1e-3, 1e-1, sampling="log"))


def make(folder, build=build, kind=tuning.RandomSearch, **arguments):
    settings = {"objective": "val_loss", "max_trials": 3, "seed": 1} | arguments
    return kind(build, directory=str(folder), project_name="p", **settings)


def scores(tuner):
    return {name: trial.score for name, trial in tuner.oracle.trials.items()}


def records(tuner):
    paths = sorted(Path(tuner.project_dir).glob("trial_*/hornbook.json"))
    return [json.loads(path.read_text()) for path in paths]


class TestOracles:
    @pytest.mark.parametrize(
        ("kind", "arguments"),
        [
            (tuning.GridSearch, {}),
            (tuning.BayesianOptimization, {"num_initial_points": 2}),
        ],
    )
    def test_other_oracles(self, tmp_path, kind, arguments):
        tuner = make(tmp_path, kind=kind, **arguments)
        tuner.search(X, Y, **FIT)
        assert len(scores(tuner)) == 3

    def test_hyperband_goes_on_from_the_weights_of_an_earlier_trial(self, tmp_path):
        tuner = tuning.Hyperband(
            build,
            "val_loss",
            max_epochs=3,
            factor=3,
            seed=1,
            directory=str(tmp_path),
            project_name="p",
        )
        tuner.search(X, Y, validation_data=(X, Y), verbose=0)
        later = [
            trial
            for trial in tuner.oracle.trials.values()
            if "tuner/trial_id" in trial.hyperparameters.values
        ]
        assert later
        for trial in later:
            earlier = trial.hyperparameters["tuner/trial_id"]
            assert trial.score < tuner.oracle.trials[earlier].score


class TestResults:
    def test_same_seed_same_search(self, tmp_path):
        one, other = make(tmp_path / "a"), make(tmp_path / "b", warm=False)
        one.search(X, Y, **FIT)
        other.search(X, Y, **FIT)
        assert scores(one) == scores(other)
        seeds = [run["seed"] for record in records(one) for run in record["runs"]]
        assert seeds == [run_seed(1, str(i), 0) for i in range(3)]

    def test_retrain_gives_the_same_model(self, tmp_path):
        tuner = make(tmp_path)
        tuner.search(X, Y, **FIT)
        [trial] = tuner.oracle.get_best_trials(1)
        one, other = tuner.retrain(trial), tuner.get_best_models()[0]
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        loss = one.evaluate(X, Y, verbose=0)[0]
        assert loss == pytest.approx(trial.score, rel=1e-5)

    def test_last_keeps_the_last_weights(self, tmp_path):
        tuner = make(tmp_path, score="last", max_trials=1)
        tuner.search(X, Y, epochs=3, validation_data=(X, Y), verbose=0)
        [record] = records(tuner)
        loss = tuner.get_best_models()[0].evaluate(X, Y, verbose=0)[0]
        assert loss == pytest.approx(record["runs"][0]["curves"]["val_loss"][-1])
        assert record["epoch"] == 2

    def test_executions_have_mean_and_sd(self, tmp_path):
        tuner = make(tmp_path, max_trials=1, executions_per_trial=3)
        tuner.search(X, Y, **FIT)
        [record] = records(tuner)
        values = [run["metrics"]["val_loss"] for run in record["runs"]]
        assert len(set(values)) == 3
        assert scores(tuner)["0"] == pytest.approx(np.mean(values))
        assert record["sd"]["val_loss"] == pytest.approx(np.std(values, ddof=1))

    def test_folds(self, tmp_path):
        tuner = make(tmp_path, max_trials=2, folds=4)
        tuner.search(X, Y, epochs=1, verbose=0)
        for record in records(tuner):
            assert [run["fold"] for run in record["runs"]] == [0, 1, 2, 3]

    def test_folds_refuse_validation_data(self, tmp_path):
        with pytest.raises(InputError, match="left out"):
            make(tmp_path, folds=3).search(X, Y, **FIT)

    def test_pruned_search_says_which(self, tmp_path):
        def build(hp):
            return compiled(rate=hp.Choice("learning_rate", [1e-9, 0.5, 0.4, 0.3, 0.2]))

        tuner = make(tmp_path, build, kind=tuning.GridSearch, max_trials=5)
        assert tuner.remaining_trials == 5
        tuner = make(tmp_path / "b", build, max_trials=5, prune="halving", seed=3)
        tuner.search(X, Y, epochs=4, validation_data=(X, Y), verbose=0)
        pruned = [r["runs"][0]["pruned"] for r in records(tuner)]
        assert any(epoch is not None for epoch in pruned)


class TestFolder:
    def test_goes_on_where_it_was(self, tmp_path):
        whole = make(tmp_path / "whole", max_trials=4)
        whole.search(X, Y, **FIT)
        first = make(tmp_path, max_trials=2)
        first.search(X, Y, **FIT)
        ran = []
        second = make(tmp_path, max_trials=4)
        run = second.runner.run
        second.runner.run = lambda name, *a, **k: ran.append(name) or run(name, *a, **k)
        second.search(X, Y, **FIT)
        assert ran == ["2", "3"]
        assert scores(second) == scores(whole)

    def test_two_cannot_write(self, tmp_path):
        tuner = make(tmp_path)
        with (
            project.locked(tmp_path / "p"),
            pytest.raises(InputError, match=r"process \d+ on .* since"),
        ):
            tuner.search(X, Y, **FIT)
        tuner.search(X, Y, **FIT)

    def test_stock_project_is_taken_over(self, tmp_path):
        stock = make(tmp_path, kind=keras_tuner.RandomSearch, max_trials=2)
        stock.search(X, Y, **FIT)
        ours = make(tmp_path, max_trials=3)
        ours.search(X, Y, **FIT)
        both = scores(ours)
        assert len(both) == 3
        assert {name: both[name] for name in scores(stock)} == scores(stock)
