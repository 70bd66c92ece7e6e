"""Grids with as many points as there are trials."""

import itertools

import keras_tuner
import numpy as np
import pytest

from hornbook.errors import InputError
from hornbook.tuning.search.grid import coarsen


def space():
    hp = keras_tuner.HyperParameters()
    hp.Float("learning_rate", 1e-5, 1, sampling="log")
    hp.Int("width", 8, 64, step=8)
    hp.Choice("kind", ["good", "fair", "poor"])
    hp.Float("idle", 0, 1)
    return hp


class TestGrid:
    def test_points_are_even_and_as_many_as_fit(self):
        grid, count = coarsen(space(), 3 * 4**3 + 5)
        axes = {each.name: list(each.values) for each in grid.space}
        assert axes["kind"] == ["good", "fair", "poor"]
        exponents = [-5, -10 / 3, -5 / 3, 0]
        np.testing.assert_allclose(
            np.log10(axes["learning_rate"]), exponents, atol=1e-12
        )
        np.testing.assert_allclose(axes["idle"], [0, 1 / 3, 2 / 3, 1], atol=1e-6)
        assert axes["width"][0] == 8 and axes["width"][-1] == 64
        assert count == len(list(itertools.product(*axes.values())))

    def test_integers_are_used_up(self):
        hp = keras_tuner.HyperParameters()
        hp.Int("depth", 1, 3)
        assert coarsen(hp, 100)[1] == 3

    def test_too_few_trials_are_refused(self):
        with pytest.raises(InputError, match="at least 24 points"):
            coarsen(space(), 23)
