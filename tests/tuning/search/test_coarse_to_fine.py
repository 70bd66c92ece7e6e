"""The stages of a search, on an objective that is known."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest

from hornbook.errors import InputError
from hornbook.tuning import CoarseToFine, Stage

BEST_RATE, BEST_WIDTH = 1e-2, 40


def space():
    hp = keras_tuner.HyperParameters()
    hp.Float("learning_rate", 1e-5, 1, sampling="log")
    hp.Int("width", 8, 64, step=8)
    hp.Choice("kind", ["good", "fair", "poor"])
    hp.Float("idle", 0, 1)
    return hp


def objective(values):
    """Best at a rate of 0.01, a width of 40, and the good kind; idle does nothing."""
    rate = (math.log10(values["learning_rate"]) - math.log10(BEST_RATE)) ** 2
    width = ((values["width"] - BEST_WIDTH) / 32) ** 2
    return -rate - 0.5 * width - {"good": 0, "fair": 0.5, "poor": 4}[values["kind"]]


def by_name(changes):
    return {change["name"]: change for change in changes}


class Known(keras_tuner.HyperModel):
    """No training: the score is the objective."""

    def build(self, hp):
        for each in space().space:
            hp._retrieve(each)
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    def fit(self, hp, model, *args, **kwargs):
        return {"score": objective(hp.values)}


class TestStages:
    @pytest.mark.parametrize("kind", ["random", "grid"])
    @pytest.mark.parametrize("seed", [1, 2])
    def test_finds_the_optimum(self, tmp_path, kind, seed):
        search = CoarseToFine(
            Known(),
            keras_tuner.Objective("score", "max"),
            max_trials=20,
            stages=[Stage(kind, share=0.4, length=0.25), Stage(share=0.6)],
            seed=seed,
            directory=tmp_path,
        )
        search.search(epochs=8, verbose=0)
        coarse, fine = search.tuners
        assert len(coarse.oracle.trials) == (24 if kind == "grid" else 32)
        assert len(fine.oracle.trials) == 12
        found = by_name(search.narrowing[0]["changes"])
        assert (
            found["learning_rate"]["new"][0]
            <= BEST_RATE
            <= found["learning_rate"]["new"][1]
        )
        mean = {
            tuner: np.mean([t.score for t in tuner.oracle.trials.values()])
            for tuner in (coarse, fine)
        }
        assert mean[fine] > mean[coarse] + 1
        best = search.get_best_hyperparameters()[0]
        assert best.values in [
            trial.hyperparameters.values for trial in fine.oracle.trials.values()
        ]


class Broken(Known):
    def fit(self, hp, model, *args, **kwargs):
        raise ValueError("broken")


def test_a_stage_without_a_success_ends_the_search(tmp_path):
    search = CoarseToFine(
        Broken(),
        keras_tuner.Objective("score", "max"),
        max_trials=5,
        directory=tmp_path,
        max_consecutive_failed_trials=99,
    )
    with pytest.raises(RuntimeError, match="No trial of stage-1 has succeeded"):
        search.search(epochs=4, verbose=0)
    with pytest.raises(InputError, match="No trial has succeeded yet"):
        search.get_best_hyperparameters()


def build(hp):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dropout(hp.Float("dropout", 0.05, 0.6)),
            keras.layers.Dense(1),
        ]
    )
    rate = hp.Float("learning_rate", 1e-4, 10, sampling="log", default=1e-2)
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype("float32")
    y = x @ np.array([[1.0], [2.0], [-1.0], [0.5]], "float32")
    return {"x": x[:40], "y": y[:40], "validation_data": (x[40:], y[40:])}


def make(folder, **options):
    options = {
        "max_trials": 10,
        "seed": 3,
        "find_learning_rate": "learning_rate",
        **options,
    }
    return CoarseToFine(
        build, "val_loss", directory=folder, project_name="search", **options
    )


class TestWhole:
    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory):
        return tmp_path_factory.mktemp("whole")

    @pytest.fixture(scope="class")
    def search(self, folder):
        search = make(folder)
        search.search(**data(), epochs=4, verbose=0)
        return search

    def test_all_stages_keep_to_the_budget(self, search):
        records = [
            json.loads(path.read_text())
            for path in search.project_dir.glob("stage-*/trial_*/hornbook.json")
        ]
        epochs = sum(run["epochs"] for each in records for run in each["runs"])
        assert epochs <= 10 * 4
        assert [(s["trials"], s["epochs"]) for s in search.plan] == [(16, 1), (6, 4)]

    def test_it_tells_why(self, search, capsys):
        by_finder, by_trials = search.narrowing
        [change] = by_finder["changes"]
        assert change["name"] == "learning_rate" and change["new"][1] < change["old"][1]
        assert "the loss falls fastest at" in change["reason"]
        assert {each["name"] for each in by_trials["changes"]} == {
            "dropout",
            "learning_rate",
        }
        told = search.explain()
        assert all(each["reason"] in told for each in by_trials["changes"])
        search.results_summary(1)
        assert told in capsys.readouterr().out

    def test_the_finder_found_a_rate_that_learns(self, search):
        low, high = search.narrowing[0]["changes"][0]["new"]
        # SGD on this diverges above about 1, and learns nothing in a step below 1e-3.
        assert low > 1e-3 and high < 10
        for trial in search.tuners[0].oracle.trials.values():
            assert low <= trial.hyperparameters["learning_rate"] <= high

    def test_stages_draw_apart(self, search):
        drawn = [
            {t.hyperparameters["dropout"] for t in tuner.oracle.trials.values()}
            for tuner in search.tuners
        ]
        assert not drawn[0] & drawn[1]

    def test_best_and_retrained_model_are_one(self, search):
        fine = search.tuners[-1]
        best = fine.oracle.get_best_trials(1)[0]
        x, y = data()["validation_data"]
        [model] = search.get_best_models()
        retrained = search.retrain(best)
        for each in (model, retrained):
            error = np.mean((each.predict(x, verbose=0) - y) ** 2)
            assert error == pytest.approx(best.score, rel=1e-4)

    def test_going_on_with_what_is_done_runs_nothing(self, search, folder):
        again = make(folder)
        assert again.narrowing == search.narrowing
        assert again.get_best_hyperparameters()[0].values == (
            search.get_best_hyperparameters()[0].values
        )
        written = {p: p.stat().st_mtime_ns for p in folder.rglob("trial.json")}
        again.search(**data(), epochs=4, verbose=0)
        assert {p: p.stat().st_mtime_ns for p in folder.rglob("trial.json")} == written

    @pytest.mark.parametrize(
        ("options", "message"),
        [({"keep": 0.5}, "keep"), ({"seed": 4}, "seed"), ({"max_trials": 20}, "max_t")],
    )
    def test_other_settings_are_refused(self, search, folder, options, message):
        with pytest.raises(InputError, match=f"another search: its {message}"):
            make(folder, **options)

    def test_other_epochs_are_refused(self, search, folder):
        with pytest.raises(InputError, match="Received: epochs=8"):
            make(folder).search(**data(), epochs=8)

    def test_overwrite_begins_anew(self, search, tmp_path):
        one = make(tmp_path, max_trials=6, find_learning_rate=None)
        one.search(**data(), epochs=4, verbose=0)
        other = make(
            tmp_path, max_trials=6, seed=9, find_learning_rate=None, overwrite=True
        )
        assert other.narrowing == [] and not other.tuners


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": [Stage()]}, "at least two stages"),
        ({"stages": [Stage(share=0.5), Stage(share=0.4)]}, "add up to 1"),
        ({"stages": [Stage("bayes", 0.5), Stage(share=0.5)]}, "search=bayes"),
        ({"stages": [Stage(share=0.5, length=0), Stage(share=0.5)]}, "length"),
        ({"keep": 1.0}, "keep=1.0"),
        ({"find_learning_rate": "speed"}, "Received: find_learning_rate=speed"),
    ],
)
def test_bad_arguments(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        make(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_too_few_trials_are_refused_before_any(tmp_path):
    with pytest.raises(InputError, match="Stage 1 would have 4 trials"):
        make(tmp_path, max_trials=3).search(**data(), epochs=4)
    assert not list(tmp_path.iterdir())


def test_seed_that_was_drawn_is_kept(tmp_path):
    one = make(tmp_path, max_trials=6, seed=None, find_learning_rate=None)
    one.search(**data(), epochs=4, verbose=0)
    other = make(tmp_path, max_trials=6, seed=None, find_learning_rate=None)
    assert other.tuners[0].oracle.seed == one.tuners[0].oracle.seed


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import test_coarse_to_fine as t
print("ready", flush=True)
t.make(sys.argv[1], max_trials=16, save_every=0.0).search(
    **t.data(), epochs=4, verbose=0
)
"""


@pytest.mark.slow
def test_killed_search_ends_as_one_left_alone(tmp_path):
    def run(folder, seconds=None):
        code = SCRIPT.format(folder=str(Path(__file__).parent))
        command = [sys.executable, "-c", code, folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            try:
                return process.wait(seconds) == 0
            except subprocess.TimeoutExpired:
                process.kill()
                return False

    def table(folder):
        state = json.loads((folder / "search/coarse_to_fine.json").read_text())
        trials = {
            path.parent.relative_to(folder): json.loads(path.read_text())
            for path in folder.rglob("trial.json")
        }
        return state, {
            path: (trial["hyperparameters"]["values"], trial["score"])
            for path, trial in trials.items()
        }

    started = time.monotonic()
    assert run(tmp_path / "alone")
    length = time.monotonic() - started
    kills, ended = 0, False
    rng = np.random.default_rng(0)
    while not ended:
        wait = rng.uniform(0.05, length / 3) if kills < 8 else None
        ended = run(tmp_path / "killed", wait)
        kills += not ended
    assert kills >= 3
    assert table(tmp_path / "killed") == table(tmp_path / "alone")


def test_coarse_to_fine_costs_no_more_than_random(tmp_path):
    """By construction; said by the plan, whatever the length of a training."""
    for epochs in (1, 3, 10, 33):
        plan = make(tmp_path, max_trials=30).plan_for(epochs)
        assert sum(s["trials"] * s["epochs"] for s in plan) <= 30 * epochs
