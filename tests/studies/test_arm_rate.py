"""The learning rate of each way to fine-tune, searched with keras-tuner."""

import runpy
from pathlib import Path

from hornbook.zoo.finetune.arms import ARMS

STUDIES = Path(__file__).parents[2] / "studies"
ArmRate = runpy.run_path(str(STUDIES / "arm_rate.py"))["ArmRate"]


def search(folder):
    tuner = ArmRate(
        ARMS["probe"],
        draws=[(0, "first draw"), (1, "second draw")],
        rates=[1e-3, 2e-2, 1e-1],
        backbone="glyphnet.letters_rgb",
        directory=str(folder),
        project_name="probe",
    )
    tuner.search()
    return tuner


def test_the_best_mean_wins_and_no_trial_is_run_twice(tmp_path, monkeypatch):
    accuracy = {1e-3: (0.5, 0.7), 2e-2: (0.4, 0.9), 1e-1: (0.8, 0.3)}
    seen = []

    def score(self, arm, seed, dataset):
        seen.append((arm.rate, seed, dataset))
        return accuracy[arm.rate][seed]

    monkeypatch.setattr(ArmRate, "_score", score)
    tuner = search(tmp_path)
    assert tuner.get_best_hyperparameters()[0]["rate"] == 2e-2
    assert {rate for rate, _, _ in seen} == set(accuracy)
    assert len(seen) == 6
    assert ARMS["probe"].rate not in accuracy  # the arm's own rate is left alone
    search(tmp_path)
    assert len(seen) == 6


def test_a_score_is_the_accuracy_on_what_stands_for_the_test(three_digits, tmp_path):
    dataset = three_digits()
    tuner = ArmRate(
        ARMS["probe"],
        [(0, dataset)],
        [3e-2],
        "glyphnet.letters_rgb",
        epochs=1,
        directory=str(tmp_path),
    )
    tuner.search()
    [trial] = tuner.oracle.get_best_trials(1)
    count = len(dataset.test.labels)
    assert 0.8 < trial.score <= 1
    assert abs(trial.score * count - round(trial.score * count)) < 1e-6
