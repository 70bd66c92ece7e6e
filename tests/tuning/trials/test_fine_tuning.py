"""A search over fine-tunings tries what `hornbook finetune` does."""

import json

import keras
import keras_tuner
import numpy as np
import pytest

from hornbook import tuning
from hornbook.cli import main
from hornbook.tuning.trials.fine_tuning import FineTuning
from hornbook.zoo import fine_tune

SETTINGS = {"learning_rate": 0.02, "steps_per_epoch": 3, "seed": 4}


def equal(a, b):
    return all(
        np.array_equal(x, y)
        for x, y in zip(a.get_weights(), b.get_weights(), strict=True)
    )


def test_fit_is_fine_tune(three_digits):
    train = three_digits().train
    model = FineTuning.of("glyphnet_small.letters_rgb", SETTINGS, 3)
    history = model.fit(train.images, train.labels, epochs=2)
    tuned = fine_tune(
        "glyphnet_small.letters_rgb", (train.images, train.labels), epochs=2, **SETTINGS
    )
    assert equal(model, tuned.classifier)
    assert history.history["loss"] == [row["loss"] for row in tuned.history]
    assert history.epoch == [0, 1]


def test_a_search_scores_it_and_keeps_the_best_epoch(three_digits, tmp_path):
    dataset = three_digits(validation=True)
    train, held = dataset.train, dataset.validation

    def build(hp):
        rate = hp.Choice("learning_rate", [1e-6, 3e-2])
        settings = {**SETTINGS, "learning_rate": rate}
        return FineTuning.of("glyphnet_small.letters_rgb", settings, 3)

    search = tuning.GridSearch(
        build,
        keras_tuner.Objective("val_accuracy", "max"),
        directory=str(tmp_path),
        seed=1,
    )
    search.search(
        train.images,
        train.labels,
        epochs=2,
        validation_data=(held.images, held.labels),
        verbose=0,
    )
    best = search.get_best_hyperparameters()[0]
    assert best["learning_rate"] == 3e-2
    [trial, _] = search.oracle.get_best_trials(2)
    model = search.get_best_models()[0]
    crops = held.images[:, 2:34, 2:34]
    guesses = model.predict(crops, verbose=0).argmax(axis=1)
    assert (guesses == held.labels).mean() == pytest.approx(trial.score)


@pytest.mark.heavy
def test_the_best_of_a_search_is_handed_to_finetune(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        assert not ended.value.code, capsys.readouterr().err

    options = ["--trials", 2, "--epochs", 2, "--labels-per-class", 12]
    command("tune", *options, "--out", "searched")
    settings = json.loads((tmp_path / "searched/best.json").read_text())
    assert settings["optimizer"] == "adamw" and settings["epochs"] == 2
    command(
        *("finetune", "--settings", "searched/best.json"),
        *("--test-crops", "none", "--out", "tuned"),
    )
    searched, tuned = (
        keras.models.load_model(tmp_path / name)
        for name in ("searched/best.keras", "tuned/model.keras")
    )
    assert equal(searched, tuned)
    page = (tmp_path / "searched/report.html").read_text(encoding="utf-8")
    assert "hornbook finetune --settings searched/best.json" in page
