"""Trials on a Ray cluster that runs on this machine."""

import os
import signal
import sys

import keras
import numpy as np
import pytest

from hornbook import tuning
from hornbook.errors import InputError
from hornbook.tuning.executors.packing import pack

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 4)).astype("float32")
Y = X[:, :1] * X[:, 1:2]


def build(hp):
    layers = []
    if hp.Boolean("deep"):
        layers = [keras.layers.Dense(hp.Int("units", 2, 4))]
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(hp.Float("learning_rate", 1e-3, 1e-2)), "mse")
    return model


def make(folder, build=build, **arguments):
    settings = {"max_trials": 3, "seed": 1, "project_name": "p"} | arguments
    return tuning.RandomSearch(build, "val_loss", directory=str(folder), **settings)


def table(tuner):
    return {
        name: (trial.hyperparameters.values, trial.status, trial.score)
        for name, trial in sorted(tuner.oracle.trials.items())
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster that the user has started, with two cores."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        # (It leaves a token in the home folder.)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield ray
        ray.shutdown()


class TestRay:
    @pytest.mark.heavy
    def test_one_worker_is_killed_and_the_table_is_as_in_process(
        self, tmp_path, capsys, cluster
    ):
        fit = {"epochs": 2, "validation_data": (X, Y), "verbose": 0}
        here, driver = make(tmp_path / "here"), os.getpid()
        here.search(X, Y, **fit)
        fuse = tmp_path / "fuse"
        fuse.touch()

        def deadly(hp):
            if fuse.exists() and os.getpid() != driver:
                fuse.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            return build(hp)

        executor = tuning.Ray()
        there = make(tmp_path / "there", deadly, executor=executor)
        there.search(X, Y, **fit)
        assert executor.workers == 2
        assert table(there) == table(here)
        assert "its worker was killed" in capsys.readouterr().out
        assert cluster.is_initialized()

    @pytest.mark.heavy
    def test_worker_that_fits_nowhere(self, tmp_path, cluster):
        with pytest.raises(InputError, match="cpus=64"):
            tuning.Ray(cpus=64).start(pack(make(tmp_path), (), {}))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"workers": 0}, "workers=0"),
            ({"cpus": 0}, "cpus=0"),
            ({"gpus": -1}, "gpus=-1"),
        ],
    )
    def test_wrong_arguments(self, arguments, message):
        with pytest.raises(InputError, match=message):
            tuning.Ray(**arguments)

    def test_extra_that_is_missing(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(InputError, match=r"hornbook\[ray\]"):
            tuning.Ray()
