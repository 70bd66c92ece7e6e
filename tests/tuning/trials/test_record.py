"""The record of a trial: what it has, and when a trial may go on."""

import json

import keras_tuner
import numpy as np
import pytest

from hornbook.tuning.trials import record as records

X = np.arange(8.0).reshape(4, 2)


def key(trial_id="0", learning_rate=0.1, rules=(1, "best"), x=X, **kwargs):
    hp = keras_tuner.HyperParameters()
    hp.values["learning_rate"] = learning_rate
    return records.trial_key(trial_id, hp, rules, (x,), kwargs)


def test_key_is_that_of_the_values_the_rules_and_the_data():
    assert key() == key(x=X.copy()) == key(verbose=0, callbacks=[print])
    others = [
        key("1"),
        key(learning_rate=0.2),
        key(rules=(2, "best")),
        key(x=X + 1),
        key(epochs=3),
    ]
    assert len({key(), *others}) == 6


def test_means_and_standard_deviations_are_over_the_trainings(tmp_path):
    record = records.read_or_begin(tmp_path, "abc", "best")
    losses = [0.5, 0.7, 0.9]
    for epoch, loss in enumerate(losses):
        metrics = {"val_loss": loss} | ({"only": 1.0} if epoch == 0 else {})
        record["runs"].append({"metrics": metrics, "epoch": epoch})
    records.save(record, tmp_path)
    found = json.loads((tmp_path / records.RECORD).read_text())
    assert found["metrics"] == {"val_loss": pytest.approx(0.7)}
    assert found["sd"] == {"val_loss": pytest.approx(np.std(losses, ddof=1))}
    assert found["epoch"] == 1
    assert records.read_or_begin(tmp_path, "abc", "best") == found


def test_another_key_begins_again_and_deletes_old_states(tmp_path):
    for name in ("state-abc-0", "state-xyz-0"):
        (tmp_path / name).mkdir()
    (tmp_path / records.RECORD).write_text(json.dumps({"key": "xyz", "runs": [1]}))
    record = records.read_or_begin(tmp_path, "abc", "best")
    assert record["runs"] == [] and record["key"] == "abc"
    assert [path.name for path in tmp_path.iterdir()] == ["state-abc-0"]
