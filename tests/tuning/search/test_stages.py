"""The plan of a coarse-to-fine search keeps to its budget of epochs."""

import keras_tuner
import pytest

from hornbook.errors import InputError
from hornbook.tuning.search.stages import STAGES, Stage, check_stages, make_plan


def space():
    hp = keras_tuner.HyperParameters()
    hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    hp.Choice("kind", ["a", "b", "c"])
    return hp


def test_the_stages_share_the_epochs():
    first, second = make_plan(STAGES, space(), max_trials=30, epochs=20)
    assert (first["name"], first["trials"], first["epochs"]) == ("stage-1", 48, 5)
    assert (second["name"], second["trials"], second["epochs"]) == ("stage-2", 18, 20)
    spent = sum(stage["trials"] * stage["epochs"] for stage in (first, second))
    assert spent == 30 * 20


def test_a_grid_has_no_more_points_than_its_share():
    stages = [Stage("grid", share=0.4, length=0.25), Stage(share=0.6)]
    first, _ = make_plan(stages, space(), max_trials=30, epochs=20)
    assert first["trials"] == 48  # Three kinds, and 16 learning rates of each.
    first, _ = make_plan(stages, space(), max_trials=31, epochs=20)
    assert first["trials"] == 48  # 49 trials are too few for 17 of each.


@pytest.mark.parametrize(
    ("stages", "keep", "message"),
    [
        ([Stage("best"), Stage()], 0.25, "Received: search=best"),
        ([Stage(share=0.5), Stage(share=0.5, length=0)], 0.25, "in \\(0, 1\\]"),
        ([Stage(share=0.5), Stage(share=0.4)], 0.25, "add up to 1"),
        ([Stage()], 0.25, "at least two stages"),
        (STAGES, 1.0, "Received: keep=1.0"),
    ],
)
def test_wrong_stages(stages, keep, message):
    with pytest.raises(InputError, match=message):
        check_stages(stages, keep)


def test_too_few_trials_are_refused():
    with pytest.raises(InputError, match="Received: max_trials=3, epochs=4"):
        make_plan(STAGES, space(), max_trials=3, epochs=4)
