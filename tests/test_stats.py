"""The paired t-test and Wilson's interval, against SciPy and their formulas."""

import math

import numpy as np
import pytest
from scipy import stats

from hornbook.stats import paired_t_test, wilson_interval


def test_paired_t_test_is_scipys():
    rng = np.random.default_rng(0)
    baseline = rng.normal(size=8)
    values = baseline + rng.normal(0.5, 1, size=8)
    found = paired_t_test(values, baseline)
    expected = stats.ttest_1samp(values - baseline, 0)
    assert found.difference == pytest.approx(np.mean(values - baseline))
    assert found.p == pytest.approx(expected.pvalue)
    half = stats.t.ppf(0.975, 7) * stats.sem(values - baseline)
    assert found.interval == pytest.approx(
        (found.difference - half, found.difference + half)
    )


@pytest.mark.parametrize(("by", "p"), [(0.0, 1.0), (-0.5, 0.0)])
def test_paired_t_test_without_spread(by, p):
    found = paired_t_test([1.5 + by, 2.5 + by], [1.5, 2.5])
    assert found == (by, (by, by), p)


@pytest.mark.parametrize(("correct", "total"), [(0, 3), (1, 1), (45, 60), (875, 1000)])
def test_wilson_interval_is_the_formulas(correct, total):
    z, share = stats.norm.ppf(0.975), correct / total
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    inner = share * (1 - share) / total + z**2 / (4 * total**2)
    half = z * math.sqrt(inner) / (1 + z**2 / total)
    expected = (max(middle - half, 0), min(middle + half, 1))
    assert wilson_interval(correct, total) == pytest.approx(expected, abs=1e-12)
