"""What goes wrong is said, and never ends a search in silence."""

import contextlib
import json
import pickle
import subprocess

import keras
import keras_tuner
import numpy as np
import pytest

from hornbook import tuning
from hornbook.errors import InputError
from hornbook.resource_errors import DiskFull
from hornbook.tuning.search.keras_tuner_support import FatalDiskFull

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")
FIT = {"epochs": 2, "validation_data": (X, Y), "verbose": 0}


def compiled(*layers, rate=0.01):
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate), loss)
    return model


def build(hp):
    return compiled(rate=hp.Float("learning_rate", 1e-3, 1e-1, sampling="log"))


def make(folder, build=build, kind=tuning.RandomSearch, **arguments):
    settings = {"objective": "val_loss", "max_trials": 4, "seed": 1} | arguments
    return kind(build, directory=str(folder), project_name="p", **settings)


def statuses(tuner):
    return sorted(trial.status for trial in tuner.oracle.trials.values())


class TestBuildThatRaises:
    def test_is_said_and_the_search_goes_on(self, tmp_path, capsys):
        def build(hp):
            units = hp.Choice("units", [1, 2, 3, 4])
            if units == 2 and armed:
                raise RuntimeError("no two units")
            return compiled(keras.layers.Dense(units))

        armed = []
        tuner = make(tmp_path, build)
        armed.append(True)
        tuner.search(X, Y, **FIT)
        assert statuses(tuner) == ["COMPLETED"] * 3 + ["FAILED"]
        assert "RuntimeError: no two units" in capsys.readouterr().out

    def test_three_in_a_row_end_it_loudly_and_it_goes_on_when_corrected(self, tmp_path):
        def build(hp):
            rate = hp.Float("learning_rate", 1e-3, 1e-2)
            if broken:
                raise RuntimeError("never")
            return compiled(rate=rate)

        broken = []
        tuner = make(tmp_path, build, max_trials=6)
        broken.append(True)
        with pytest.raises(RuntimeError, match="never"):
            tuner.search(X, Y, **FIT)
        broken.clear()
        tuner = make(tmp_path, build, max_trials=6)
        tuner.search(X, Y, **FIT)
        assert statuses(tuner) == ["COMPLETED"] * 4 + ["FAILED"] * 2

    def test_what_is_no_model_ends_it(self, tmp_path):
        def build(hp):
            hp.Float("learning_rate", 1e-3, 1e-2)
            return "model"

        with pytest.raises(keras_tuner.errors.FatalTypeError, match="'model'"):
            make(tmp_path, build).search(X, Y, **FIT)


class TestMemory:
    def test_model_that_does_not_fit_fails_and_the_search_goes_on(
        self, tmp_path, capsys
    ):
        def build(hp):
            units = hp.Choice("units", [2, 10**12])
            dense = keras.layers.Dense(units, kernel_initializer="zeros")
            dense.build((None, 4)) if armed else None
            return compiled(dense if armed else keras.layers.Dense(2))

        armed = []
        tuner = make(tmp_path, build, max_trials=2)
        armed.append(True)
        tuner.search(X, Y, **FIT)
        assert statuses(tuner) == ["COMPLETED", "FAILED"]
        assert "does not fit in memory" in capsys.readouterr().out


class TestNaN:
    def test_fails_the_trial_and_says_so(self, tmp_path, capsys):
        def build(hp):
            return compiled(rate=hp.Choice("learning_rate", [0.01, float("inf")]))

        tuner = make(tmp_path, build, max_trials=2)
        tuner.search(X, Y, **FIT)
        assert statuses(tuner) == ["COMPLETED", "FAILED"]
        assert "became nan in epoch 1" in capsys.readouterr().out


@contextlib.contextmanager
def small_disk(folder, size):
    """A file system of so many bytes, or where none can be mounted, a limit on files.

    Yields:
        Function that makes room.
    """
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if mounted:
        again = f"remount,size={100 * size}"
        try:
            yield lambda: subprocess.run(
                ["mount", "-o", again, str(folder)], check=True
            )
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 20, before[1]))
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestDisk:
    @pytest.mark.parametrize(
        "pages", [12, *(pytest.param(n, marks=pytest.mark.heavy) for n in (20, 40, 60))]
    )
    def test_full_disk_ends_the_search_which_then_goes_on(self, tmp_path, pages):
        def build(hp):
            return compiled(
                keras.layers.Dense(200), rate=hp.Float("learning_rate", 1e-3, 1e-2)
            )

        whole = make(tmp_path / "whole", build, max_trials=8)
        whole.search(X, Y, **FIT)
        with small_disk(tmp_path / "disk", 4096 * pages) as make_room:
            tuner = make(tmp_path / "disk", build, max_trials=8)
            with pytest.raises(DiskFull, match="call `search` again"):
                tuner.search(X, Y, **FIT)
            assert "FAILED" not in statuses(tuner)
            make_room()
            tuner = make(tmp_path / "disk", build, max_trials=8)
            tuner.search(X, Y, **FIT)
            for name, trial in whole.oracle.trials.items():
                assert tuner.oracle.trials[name].score == trial.score
                assert trial.status == "COMPLETED"

    def test_it_ends_the_search_in_whichever_process_it_is_found(self):
        error = FatalDiskFull("The disk is full.")
        assert isinstance(error, DiskFull)
        assert isinstance(error, keras_tuner.errors.FatalError)
        assert isinstance(pickle.loads(pickle.dumps(error)), FatalDiskFull)


class TestSpace:
    def test_small_space_is_searched_whole_and_said(self, tmp_path, capsys):
        def build(hp):
            return compiled(
                rate=hp.Choice("learning_rate", [i / 100 for i in range(1, 9)])
            )

        tuner = make(tmp_path, build, max_trials=20)
        tuner.search(X, Y, epochs=1, validation_data=(X, Y), verbose=0)
        assert statuses(tuner) == ["COMPLETED"] * 8
        assert "ended after 8 of 20 trials" in capsys.readouterr().out

    def test_empty_space_is_said(self, tmp_path, capsys):
        tuner = make(tmp_path, lambda hp: compiled())
        tuner.search(X, Y, **FIT)
        assert statuses(tuner) == ["COMPLETED"]
        assert "space is empty" in capsys.readouterr().out


class TestFolder:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"build": lambda hp: compiled(rate=hp.Float("r", 0.1, 1.0))}, "its space"),
            ({"objective": "val_accuracy"}, "its objective"),
            ({"score": "last"}, "its score"),
            ({"executions_per_trial": 2}, "its executions"),
        ],
    )
    def test_of_another_search(self, tmp_path, arguments, message):
        make(tmp_path).search(X, Y, **FIT)
        with pytest.raises(InputError, match=message):
            make(tmp_path, **arguments)
        make(tmp_path, overwrite=True, **arguments)

    def test_of_another_version(self, tmp_path):
        make(tmp_path).search(X, Y, **FIT)
        path = tmp_path / "p" / "hornbook.json"
        about = json.loads(path.read_text())
        path.write_text(json.dumps(about | {"format": 99, "later": True}))
        with pytest.raises(InputError, match="format 99"):
            make(tmp_path)

    @pytest.mark.parametrize("name", ["oracle.json", "trial_1/trial.json"])
    def test_truncated_file_is_named(self, tmp_path, name):
        make(tmp_path).search(X, Y, **FIT)
        path = tmp_path / "p" / name
        path.write_text(path.read_text()[:50])
        with pytest.raises(InputError, match="truncated") as error:
            make(tmp_path)
        assert path.name in str(error.value)


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"score": "median"}, "score=median"),
            ({"score": ("mean", 0)}, "score="),
            ({"folds": 1}, "folds=1"),
            ({"prune": "early"}, "prune=early"),
            ({"build": None}, "hypermodel=None"),
            ({"executor": 3}, "executor=3"),
        ],
    )
    def test_wrong_arguments(self, tmp_path, arguments, message):
        with pytest.raises(InputError, match=message):
            make(tmp_path, **arguments)

    def test_chief_and_workers_are_refused(self, tmp_path, monkeypatch):
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        with pytest.raises(InputError, match=r"(?s)KERASTUNER_ORACLE_IP.*Pool"):
            make(tmp_path)


def test_a_value_that_is_only_built_to_compare_fails_no_trial(tmp_path):
    """To see what varies, a model is built with values that nobody proposed."""

    def build(hp):
        rate = hp.Choice("learning_rate", [0.01, 0.02])
        if rate == 0.02:
            raise ValueError("0.02 is too much")
        return compiled(rate=rate)

    tuner = make(tmp_path, build, tuning.GridSearch)
    tuner.search(X, Y, **FIT)
    ended = {
        trial.hyperparameters.get("learning_rate"): trial.status
        for trial in tuner.oracle.trials.values()
    }
    assert ended == {0.01: "COMPLETED", 0.02: "FAILED"}
