"""What `hornbook.tuning` offers, and what completion shows of it."""

import subprocess
import sys

import pytest

from hornbook import tuning

NAMES = {
    *("RandomSearch", "GridSearch", "BayesianOptimization", "Hyperband", "Tuner"),
    *("CoarseToFine", "Stage", "Pool", "Ray", "Executor"),
}
IMPORT = """
import sys
from hornbook import tuning
assert set(tuning.__all__) <= set(dir(tuning))
print([name for name in ("keras", "keras_tuner", "ray") if name in sys.modules])
"""


def test_names_are_complete_and_importable():
    assert set(tuning.__all__) == NAMES
    assert set(dir(tuning)) >= NAMES
    assert {getattr(tuning, name).__name__ for name in NAMES} == NAMES


def test_other_names_are_none():
    with pytest.raises(AttributeError, match="RandomSeach"):
        _ = tuning.RandomSeach


def test_importing_it_and_completing_its_names_imports_nothing_heavy():
    told = subprocess.check_output([sys.executable, "-c", IMPORT], text=True)
    assert told.strip() == "[]"


def test_executors_follow_the_protocol():
    assert isinstance(tuning.Pool(1), tuning.Executor)
    assert not isinstance(object(), tuning.Executor)
