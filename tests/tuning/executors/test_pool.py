"""Trials in processes on this machine."""

import os
import signal
from pathlib import Path

import keras
import numpy as np
import pytest

from hornbook import tuning
from hornbook.errors import InputError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 4)).astype("float32")
Y = X[:, :1] * X[:, 1:2]
FIT = {"epochs": 2, "validation_data": (X, Y), "verbose": 0}


@keras.saving.register_keras_serializable(package="test_pool")
class Doubled(keras.layers.Layer):
    """A layer of the user's own."""

    def call(self, x):
        return 2 * x


def compiled(rate, *layers):
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def build(hp):
    layers = []
    if hp.Boolean("deep"):
        layers = [keras.layers.Dense(hp.Int("units", 2, 4)), Doubled()]
    return compiled(hp.Float("learning_rate", 1e-3, 1e-2, sampling="log"), *layers)


def make(folder, build=build, kind=tuning.RandomSearch, **arguments):
    settings = {"objective": "val_loss", "max_trials": 4, "seed": 1} | arguments
    return kind(build, directory=str(folder), project_name="p", **settings)


def table(tuner):
    return {
        name: (trial.hyperparameters.values, trial.status, trial.score)
        for name, trial in sorted(tuner.oracle.trials.items())
    }


class TestPool:
    @pytest.mark.heavy
    def test_one_worker_is_killed_and_the_table_is_as_in_process(
        self, tmp_path, capsys
    ):
        here, driver = make(tmp_path / "here"), os.getpid()
        here.search(X, Y, **FIT)
        fuse = tmp_path / "fuse"
        fuse.touch()

        def deadly(hp):
            if fuse.exists() and os.getpid() != driver:
                fuse.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            return build(hp)

        pool = tuning.Pool(2)
        there = make(tmp_path / "there", deadly, executor=pool)
        there.search(X, Y, **FIT)
        assert table(there) == table(here)
        assert "units" in {
            name for values, _, _ in table(there).values() for name in values
        }
        assert "worker was killed by SIGKILL" in capsys.readouterr().out
        assert not pool.processes
        assert not Path(pool.folder).exists()
        assert there.get_best_models()[0].count_params()

    @pytest.mark.slow
    def test_trial_that_kills_its_worker_fails_and_the_search_goes_on(
        self, tmp_path, capsys
    ):
        driver = os.getpid()

        def build(hp):
            units = hp.Choice("units", [1, 2])
            if units == 2 and os.getpid() != driver:
                os.kill(os.getpid(), signal.SIGKILL)
            return compiled(0.01, keras.layers.Dense(units))

        tuner = make(tmp_path, build, max_trials=2, executor=tuning.Pool(1, threads=1))
        tuner.search(X, Y, **FIT)
        statuses = {values["units"]: s for values, s, _ in table(tuner).values()}
        assert statuses == {1: "COMPLETED", 2: "FAILED"}
        assert "again, so the trial has failed" in capsys.readouterr().out

    def test_limits(self):
        limits = tuning.Pool(4)._limited({"OMP_NUM_THREADS": "7"})
        assert limits["OMP_NUM_THREADS"] == "7"
        assert limits["TF_NUM_INTRAOP_THREADS"] == limits["NPROC"]
        assert float(limits["XLA_PYTHON_CLIENT_MEM_FRACTION"]) == 0.225
        limits = tuning.Pool(4, threads=2, gpu_share=0.5)._limited(limits)
        assert limits["OMP_NUM_THREADS"] == "2"
        assert float(limits["XLA_PYTHON_CLIENT_MEM_FRACTION"]) == 0.5

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"workers": 0}, "workers=0"),
            ({"workers": 2, "threads": -1}, "threads=-1"),
            ({"workers": 2, "gpu_share": 1.5}, "gpu_share=1.5"),
        ],
    )
    def test_wrong_arguments(self, arguments, message):
        with pytest.raises(InputError, match=message):
            tuning.Pool(**arguments)

    def test_what_is_no_executor(self, tmp_path):
        with pytest.raises(InputError, match="executor='pool'"):
            make(tmp_path, executor="pool")
