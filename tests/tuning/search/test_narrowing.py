"""Narrowing by what is known of the objective."""

import math

import keras
import keras_tuner
import numpy as np
import pytest
from scipy.stats import ks_2samp

from hornbook.tuning.search.explore import explore
from hornbook.tuning.search.narrowing import apply, narrow

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


def draw(hp, count, seed):
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        values = {each.name: each.prob_to_value(rng.random()) for each in hp.space}
        rows.append((values, objective(values)))
    return rows


def by_name(changes):
    return {change["name"]: change for change in changes}


class TestNarrow:
    def test_range_is_that_of_the_best_and_the_next_tried(self):
        hp = keras_tuner.HyperParameters()
        hp.Float("x", 0, 100)
        rows = [({"x": float(x)}, -abs(x - 30.0)) for x in range(0, 101, 5)]
        [change] = narrow(hp, rows)
        best = [30, 25, 35, 20, 40, 15]  # 21 / 4, rounded up; ties in order
        assert change["best"] == best
        assert change["new"] == [10, 45]
        rest = [x for x in range(0, 101, 5) if x not in best]
        assert change["p"] == pytest.approx(ks_2samp(best, rest).pvalue)
        inside = np.mean([-abs(x - 30) for x in range(10, 46, 5)])
        assert f"inside the new range is {inside:.3g}," in change["reason"]

    def test_the_less_the_better(self):
        hp = space()
        rows = draw(hp, 40, 0)
        losses = [(values, -score) for values, score in rows]
        one, other = narrow(hp, rows), narrow(hp, losses, is_max=False)
        assert [a["new"] for a in one] == [b["new"] for b in other]

    def test_choice_is_left_out_by_the_hypergeometric_law(self):
        hp = keras_tuner.HyperParameters()
        hp.Choice("x", ["a", "b", "c"])
        kinds = ["a"] * 5 + ["b"] * 10 + ["c"]
        rows = [({"x": kind}, -place) for place, kind in enumerate(kinds)]
        [change] = narrow(hp, rows)  # The best four of 16 are all a.
        chance = math.comb(6, 4) / math.comb(16, 4)
        assert change["new"] == ["a", "c"]  # One trial of c tells nothing.
        assert change["p"] == pytest.approx(chance)
        assert f"b (10 trials, p = {chance:.2g})" in change["reason"]

    @pytest.mark.parametrize("seed", range(12))
    def test_region_contains_the_optimum(self, seed):
        found = by_name(narrow(space(), draw(space(), 40, seed)))
        assert (
            found["learning_rate"]["new"][0]
            <= BEST_RATE
            <= found["learning_rate"]["new"][1]
        )
        assert found["width"]["new"][0] <= BEST_WIDTH <= found["width"]["new"][1]
        assert "good" in found["kind"]["new"]

    def test_region_is_much_smaller(self):
        shares = []
        for seed in range(12):
            rate = by_name(narrow(space(), draw(space(), 40, seed)))["learning_rate"]
            shares.append(np.ptp(np.log10(rate["new"])) / 5)
        assert np.mean(shares) < 0.65

    def test_what_does_not_matter_is_mostly_left_wide(self):
        hp = keras_tuner.HyperParameters()
        hp.Float("x", 0, 1)
        rng = np.random.default_rng(0)
        narrowed = 0
        for _ in range(200):
            rows = [({"x": x}, s) for x, s in rng.random((32, 2)).tolist()]
            [change] = narrow(hp, rows)
            narrowed += change["new"] != change["old"]
        assert narrowed <= 28  # At 0.1, fewer than 1 in 50 such sets have more.

    def test_failed_trials_are_the_worst(self):
        hp = keras_tuner.HyperParameters()
        hp.Float("learning_rate", 1e-5, 1, sampling="log")
        rates = np.logspace(-5, 0, 40).tolist()
        rows = [({"learning_rate": r}, r if r < 0.02 else None) for r in rates]
        [change] = narrow(hp, rows)
        assert change["new"][1] == min(r for r in rates if r >= 0.02)
        assert max(change["best"]) < 0.02

    def test_too_few_trials_narrow_nothing(self):
        for change in narrow(space(), draw(space(), 7, 0)):
            assert change["new"] == change["old"]
            assert "Too few" in change["reason"]


def conditional(hp):
    kind = hp.Choice("kind", ["a", "b"])
    is_wide = hp.Boolean("wide")
    rate_a = hp.Float(
        "rate_a", 1e-4, 1, sampling="log", parent_name="kind", parent_values=["a"]
    )
    rate_b = hp.Float("rate_b", 0, 2, parent_name="kind", parent_values=["b"])
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.seen = kind, is_wide, rate_a, rate_b
    return model


class TestApply:
    def test_build_gets_values_of_the_region(self):
        found = explore(conditional, "val_loss")
        changes = [
            {"name": "kind", "new": ["b"]},
            {"name": "wide", "new": [True]},
            {"name": "rate_b", "new": [0.5, 0.7]},
        ]
        narrowed = apply(found, changes, {"rate_b": 0.6, "rate_a": 0.3})
        assert conditional(narrowed.copy()).seen == ("b", True, None, 0.6)
        # A value that is no longer in the region gives way to its nearest end.
        narrowed = apply(found, changes, {"rate_b": 1.9})
        assert conditional(narrowed.copy()).seen == ("b", True, None, 0.7)

    def test_search_stays_in_the_region(self, tmp_path):
        narrowed = apply(
            explore(conditional, "val_loss"),
            [{"name": "kind", "new": ["a"]}, {"name": "rate_a", "new": [0.01, 0.02]}],
            {},
        )
        tuner = keras_tuner.RandomSearch(
            conditional,
            "val_loss",
            max_trials=20,
            hyperparameters=narrowed,
            directory=tmp_path,
        )
        for _ in range(20):
            values = tuner.oracle.create_trial("t").hyperparameters.values
            assert values["kind"] == "a" and 0.01 <= values["rate_a"] <= 0.02
            assert "rate_b" not in values
