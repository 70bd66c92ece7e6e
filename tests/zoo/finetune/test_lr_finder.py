import numpy as np
import pytest
from tiny import build, patterns

from hornbook.errors import InputError
from hornbook.zoo import fine_tune
from hornbook.zoo.finetune import lr_finder

OPTIONS = {"epochs": 2, "steps_per_epoch": 3, "dropout": 0.3}


def test_what_is_found_gives_the_same_bits_as_a_number():
    found = fine_tune(build(), patterns(), learning_rate="auto", **OPTIONS)
    rate = found.learning_rate
    assert 1e-4 < rate < 10
    assert rate == float(f"{rate:.2g}")
    assert found.history[0]["learning_rate"] <= rate
    given = fine_tune(build(), patterns(), learning_rate=rate, **OPTIONS)
    assert given.learning_rate is None
    for a, b in zip(found.model.get_weights(), given.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_training_examples_are_looked_at():
    x, y = patterns()
    rates = {
        fine_tune(build(), (x, y), other, learning_rate="auto", **OPTIONS).learning_rate
        for other in (None, (255 - x, y))
    }
    assert len(rates) == 1


@pytest.mark.parametrize("strategy", ["linear_probe", "full"])
def test_it_is_found_for_each_strategy(strategy):
    tuned = fine_tune(
        build(), patterns(), learning_rate="auto", strategy=strategy, **OPTIONS
    )
    assert tuned.learning_rate > 0


def test_a_loss_that_never_falls_has_no_rate(monkeypatch):
    class Flat:
        learning_rates, steepest = [], None

    monkeypatch.setattr(lr_finder, "find_learning_rate", lambda *_, **__: Flat)
    with pytest.raises(InputError, match="saw no decrease in loss; pass a number"):
        fine_tune(build(), patterns(), learning_rate="auto", **OPTIONS)
