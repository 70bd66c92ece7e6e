"""Trials in other processes: what is sent, what comes back, who dies."""

import os
import pickle
import signal
import threading
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest

from hornbook import tuning
from hornbook.errors import InputError
from hornbook.tuning.executors.driver import Died
from hornbook.tuning.executors.protocol import pack, read_job, write_job
from hornbook.tuning.executors.worker import Worker

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
    return compiled(hp.Float("rate", 1e-3, 1e-2, sampling="log"), *layers)


def make(folder, build=build, kind=tuning.RandomSearch, **arguments):
    settings = {"objective": "val_loss", "max_trials": 4, "seed": 1} | arguments
    return kind(build, directory=str(folder), project_name="p", **settings)


def table(tuner):
    return {
        name: (trial.hyperparameters.values, trial.status, trial.score)
        for name, trial in sorted(tuner.oracle.trials.items())
    }


class Here:
    """An executor with one worker, in this process, that dies when it is told to.

    Args:
        deaths: Numbers of the messages upon which it dies.
    """

    def __init__(self, deaths=(), workers=2):
        self.workers, self.deaths, self.sent = workers, deaths, []

    def start(self, job):
        job = pickle.loads(pickle.dumps(job))
        self.worker, self.waiting = Worker(job), []

    def send(self, place, *message):
        self.sent.append((place, message[0]["trial_id"]))
        self.waiting.append((place, len(self.sent) - 1, message))

    def receive(self):
        place, number, message = self.waiting.pop(0)
        if number in self.deaths:
            return place, Died("was killed by the test")
        message = pickle.loads(pickle.dumps(message))
        return place, pickle.loads(pickle.dumps(self.worker.run(*message)))

    def stop(self):
        self.worker = None


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
        assert "again: the trial has failed" in capsys.readouterr().out

    def test_shares(self):
        shares = tuning.Pool(4)._shares({"OMP_NUM_THREADS": "7"})
        assert shares["OMP_NUM_THREADS"] == "7"
        assert shares["TF_NUM_INTRAOP_THREADS"] == shares["NPROC"]
        assert float(shares["XLA_PYTHON_CLIENT_MEM_FRACTION"]) == 0.225
        shares = tuning.Pool(4, threads=2, gpu_share=0.5)._shares(shares)
        assert shares["OMP_NUM_THREADS"] == "2"
        assert float(shares["XLA_PYTHON_CLIENT_MEM_FRACTION"]) == 0.5

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

    def test_build_that_cannot_be_sent_is_named(self, tmp_path):
        lock = threading.Lock()

        def build(hp):
            with lock:
                return compiled(hp.Float("rate", 0.1, 0.2))

        tuner = make(tmp_path, build, executor=Here())
        with pytest.raises(InputError, match="the hypermodel cannot be sent"):
            tuner.search(X, Y, **FIT)


class TestSearch:
    @pytest.mark.parametrize(
        ("kind", "arguments"),
        [
            (tuning.RandomSearch, {"executions_per_trial": 2, "prune": "halving"}),
            (tuning.RandomSearch, {"folds": 2}),
            (tuning.GridSearch, {"max_trials": 5}),
            (tuning.BayesianOptimization, {"num_initial_points": 2}),
        ],
    )
    def test_finds_what_is_found_in_process(self, tmp_path, kind, arguments):
        fit = {"epochs": 2, "verbose": 0}
        if "folds" not in arguments:
            fit["validation_data"] = X, Y
        here = make(tmp_path / "here", kind=kind, **arguments)
        here.search(X, Y, **fit)
        one = Here(workers=1)
        there = make(tmp_path / "there", kind=kind, executor=one, **arguments)
        there.search(X, Y, **fit)
        assert table(there) == table(here)

    def test_hyperband(self, tmp_path):
        tuner = tuning.Hyperband(
            build,
            "val_loss",
            max_epochs=3,
            factor=3,
            seed=1,
            directory=str(tmp_path),
            executor=Here(),
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

    def test_own_run_trial_fit_and_hooks(self, tmp_path):
        class Black(tuning.RandomSearch):
            def run_trial(self, trial):
                return trial.hyperparameters.Float("x", -1.0, 1.0) ** 2

        black = Black(
            max_trials=3, directory=str(tmp_path / "a"), seed=1, executor=Here()
        )
        black.search()
        for trial in black.oracle.trials.values():
            assert trial.score == trial.hyperparameters["x"] ** 2

        class Model(keras_tuner.HyperModel):
            def build(self, hp):
                return build(hp)

            def fit(self, hp, model, *args, **kwargs):
                return model.fit(*args, batch_size=hp.Choice("size", [8, 16]), **kwargs)

        tuner = make(tmp_path / "b", Model(), executor=Here())
        tuner.search(X, Y, **FIT)
        assert {status for _, status, _ in table(tuner).values()} == {"COMPLETED"}
        assert all("size" in values for values, _, _ in table(tuner).values())

        log = tmp_path / "log"

        class Hooked(tuning.RandomSearch):
            def on_epoch_end(self, trial, model, epoch, logs=None):
                with log.open("a") as file:
                    file.write(f"{trial.trial_id} {epoch}\n")

        make(tmp_path / "c", kind=Hooked, max_trials=1, executor=Here()).search(
            X, Y, **FIT
        )
        assert log.read_text().split() == ["0", "0", "0", "1"]

    def test_the_driver_alone_writes_the_oracle(self, tmp_path):
        executor = Here()
        tuner = make(tmp_path, executor=executor)
        tuner.search(X, Y, **FIT)
        assert make(tmp_path).oracle.end_order == ["0", "1", "2", "3"]
        assert [place for place, _ in executor.sent] == [0, 1, 0, 1]

    def test_sentences_of_workers_are_said_once(self, tmp_path, capsys):
        def build(hp):
            model = compiled(hp.Float("rate", 1e-3, 1e-2))
            model.run_eagerly = True
            return model

        make(tmp_path, build, executor=Here()).search(X, Y, **FIT)
        assert capsys.readouterr().out.count("runs eagerly") == 1

    @pytest.mark.parametrize(("deaths", "failed"), [([0], 0), ([0, 2], 1)])
    def test_one_death_is_forgiven_and_two_fail_the_trial(
        self, tmp_path, capsys, deaths, failed
    ):
        executor = Here(deaths)  # Trials 0, 1 are sent, 0 dies and is sent again, ...
        tuner = make(tmp_path, executor=executor)
        tuner.search(X, Y, **FIT)
        statuses = [status for _, status, _ in table(tuner).values()]
        assert statuses.count("FAILED") == failed
        assert statuses.count("COMPLETED") == 4 - failed
        assert "goes on in a new one" in capsys.readouterr().out

    def test_retries_are_those_of_keras_tuner(self, tmp_path):
        executor = Here([0, 1], workers=1)
        tuner = make(tmp_path, executor=executor, max_retries_per_trial=1, max_trials=1)
        tuner.search(X, Y, **FIT)
        assert [name for _, name in executor.sent] == ["0", "0", "0"]
        assert tuner.oracle.trials["0"].status == "COMPLETED"

    def test_failures_and_fatal_errors_arrive(self, tmp_path, capsys):
        def build(hp):
            units = hp.Choice("units", [1, 2, 3, 4])
            if units == 2 and armed.exists():
                raise RuntimeError("no two units")
            return compiled(0.01, keras.layers.Dense(units))

        armed = tmp_path / "armed"
        tuner = make(tmp_path, build, executor=Here())
        armed.touch()
        tuner.search(X, Y, **FIT)
        statuses = sorted(status for _, status, _ in table(tuner).values())
        assert statuses == ["COMPLETED"] * 3 + ["FAILED"]
        assert "RuntimeError: no two units" in capsys.readouterr().out

        def fatal(hp):
            hp.Float("rate", 0.1, 0.2)
            return compiled(0.1) if armed.exists() else None

        tuner = make(tmp_path / "fatal", fatal, executor=Here())
        armed.unlink()
        with pytest.raises(keras_tuner.errors.FatalTypeError, match="Keras model"):
            tuner.search(X, Y, **FIT)
