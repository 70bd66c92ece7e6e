"""The learning rate of each way to fine-tune, searched with keras-tuner."""

import importlib
import sys
from pathlib import Path

import pytest

from hornbook.zoo.runs.compare import ARMS
from hornbook.zoo.runs.config import RunConfig

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture
def arm_rate(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(STUDIES), *sys.path])
    return importlib.import_module("arm_rate")


def search(arm_rate, folder):
    tuner = arm_rate.ArmRate(
        "linear_probe",
        draws=[(0, "first draw"), (1, "second draw")],
        rates=[1e-3, 2e-2, 1e-1],
        directory=str(folder),
        project_name="probe",
    )
    tuner.search()
    return tuner


def test_the_best_mean_wins_and_no_trial_is_run_twice(arm_rate, tmp_path, monkeypatch):
    accuracy = {1e-3: (0.5, 0.7), 2e-2: (0.4, 0.9), 1e-1: (0.8, 0.3)}
    seen = []

    def score(arm, seed, dataset, rate):
        seen.append((rate, seed, dataset))
        return accuracy[rate][seed]

    monkeypatch.setattr(arm_rate, "development_accuracy", score)
    tuner = search(arm_rate, tmp_path)
    assert tuner.get_best_hyperparameters()[0]["learning_rate"] == 2e-2
    assert {rate for rate, _, _ in seen} == set(accuracy)
    assert len(seen) == 6
    own = ARMS["linear_probe"].settings["learning_rate"]
    assert own not in accuracy  # the arm's own rate is left alone
    search(arm_rate, tmp_path)
    assert len(seen) == 6


def test_a_score_is_the_accuracy_on_what_stands_for_the_test(arm_rate, three_digits):
    dataset = three_digits()
    config = RunConfig.of({"epochs": 2, "steps_per_epoch": 10})
    score = arm_rate.development_accuracy("linear_probe", config, dataset, 3e-2)
    count = len(dataset.test.labels)
    assert 0.8 < score <= 1
    assert abs(score * count - round(score * count)) < 1e-6
