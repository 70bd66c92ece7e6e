"""Which epochs of a training are its score."""

import keras_tuner
import pytest

from hornbook.errors import InputError
from hornbook.tuning.trials.scoring import check_rule, score_history


@pytest.mark.parametrize(
    ("rule", "value", "epoch"),
    [("best", 1.0, 1), ("last", 3.0, 3), (("mean", 2), 3.5, 3)],
)
def test_rules(rule, value, epoch):
    objective = keras_tuner.Objective("val_loss", "min")
    curves = {"loss": [9.0, 8.0, 7.0, 6.0], "val_loss": [2.0, 1.0, 4.0, 3.0]}
    metrics, found = score_history(curves, objective, rule)
    assert metrics["val_loss"] == value
    assert found == epoch


def test_nan_never_wins():
    objective = keras_tuner.Objective("val_loss", "min")
    curves = {"val_loss": [float("nan"), 2.0, float("nan")]}
    assert score_history(curves, objective, "best")[0]["val_loss"] == 2.0
    with pytest.raises(keras_tuner.errors.FailedTrialError, match="epoch 1"):
        score_history(curves, objective, "last")


@pytest.mark.parametrize("rule", ["median", ("mean", 0), ("mean", 2.0), 3])
def test_other_rules_are_refused(rule):
    with pytest.raises(InputError, match="Received: score="):
        check_rule(rule)
