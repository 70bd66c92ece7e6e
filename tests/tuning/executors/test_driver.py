"""The search loop, with an executor in this process: what comes back, who dies."""

import pickle
import threading

import keras
import keras_tuner
import numpy as np
import pytest

from hornbook import tuning
from hornbook.errors import InputError
from hornbook.tuning.executors.protocol import WorkerDied
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
    return compiled(hp.Float("learning_rate", 1e-3, 1e-2, sampling="log"), *layers)


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

    def send(self, worker, *message):
        self.sent.append((worker, message[0]["trial_id"]))
        self.waiting.append((worker, len(self.sent) - 1, message))

    def receive(self):
        worker, number, message = self.waiting.pop(0)
        if number in self.deaths:
            return worker, WorkerDied("was killed by the test")
        message = pickle.loads(pickle.dumps(message))
        return worker, pickle.loads(pickle.dumps(self.worker.run(*message)))

    def stop(self):
        self.worker = None


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
        assert [worker for worker, _ in executor.sent] == [0, 1, 0, 1]

    def test_sentences_of_workers_are_said_once(self, tmp_path, capsys):
        def build(hp):
            model = compiled(hp.Float("learning_rate", 1e-3, 1e-2))
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
        assert "goes on in a new worker" in capsys.readouterr().out

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
            hp.Float("learning_rate", 0.1, 0.2)
            return compiled(0.1) if armed.exists() else None

        tuner = make(tmp_path / "fatal", fatal, executor=Here())
        armed.unlink()
        with pytest.raises(keras_tuner.errors.FatalTypeError, match="Keras model"):
            tuner.search(X, Y, **FIT)

    def test_build_that_cannot_be_sent_is_named(self, tmp_path):
        lock = threading.Lock()

        def build(hp):
            with lock:
                return compiled(hp.Float("learning_rate", 0.1, 0.2))

        tuner = make(tmp_path, build, executor=Here())
        with pytest.raises(InputError, match="the hypermodel cannot be sent"):
            tuner.search(X, Y, **FIT)
