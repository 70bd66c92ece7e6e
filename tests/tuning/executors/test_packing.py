"""What is sent to a worker, once."""

import threading

import keras
import numpy as np
import pytest

from hornbook import tuning
from hornbook.errors import InputError
from hornbook.tuning.executors.packing import pack, read_job, write_job

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


class TestJob:
    def test_arrays_are_shared_and_may_be_written_to(self, tmp_path):
        tuner, x, empty = make(tmp_path), X.copy(), np.zeros((0, 3))
        path = tmp_path / "job"
        write_job(pack(tuner, (x, empty), {"validation_data": (X, Y)}), path)
        _, (one, nothing), kwargs = read_job(path).unpack()
        _, (other, _), _ = read_job(path).unpack()
        np.testing.assert_array_equal(one, x)
        np.testing.assert_array_equal(kwargs["validation_data"][1], Y)
        assert nothing.shape == (0, 3)
        assert one.ctypes.data % 64 == 0
        one[:] = 0
        np.testing.assert_array_equal(other, x)
        assert len(read_job(path).payload) < 50_000

    def test_what_a_worker_could_not_import_is_sent_along(self, tmp_path):
        job = pack(make(tmp_path), (), {})
        assert b"hp.Boolean" not in job.payload  # It is code, not text.
        assert b"Doubled" in job.payload
        assert not any(b"test_pool" in str(entry).encode() for entry in job.path)

    @pytest.mark.parametrize(
        ("args", "kwargs", "name"),
        [
            ((X, threading.Lock()), {}, "argument 1 of `search`"),
            ((X,), {"callbacks": [iter(X), (i for i in X)]}, "`callbacks` of `search`"),
        ],
    )
    def test_what_cannot_be_sent_is_named(self, tmp_path, args, kwargs, name):
        with pytest.raises(InputError, match=name):
            pack(make(tmp_path), args, kwargs)
