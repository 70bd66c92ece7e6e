"""The two tests that figures are told with: the paired t-test and Wilson's interval."""

from typing import NamedTuple

import numpy as np
from scipy import stats


class PairedTest(NamedTuple):
    """What a paired t-test found.

    Attributes:
        difference: Float, the mean of the differences.
        interval: Tuple of two floats, its 95 % interval.
        p: Float, the probability of a mean at least that far from 0 if there is no
            difference, two-sided.
    """

    difference: float
    interval: tuple[float, float]
    p: float


def paired_t_test(values, baseline) -> PairedTest:
    """Student's t-test of paired numbers, such as accuracies of the same seeds.

    Args:
        values: Sequence of floats, one a pair.
        baseline: Sequence of as many floats, those to compare with.

    Returns:
        A `PairedTest`. If all differences are the same, there is no spread to test by:
        then the interval has no width, and `p` is 1.0 if they are 0, else 0.0.

    Example:

    >>> test = paired_t_test([3.0, 4.0, 5.0], [2.0, 2.0, 2.0])
    >>> test.difference, round(test.p, 3)
    (2.0, 0.074)
    >>> paired_t_test([3.0, 4.0], [2.0, 3.0])
    PairedTest(difference=1.0, interval=(1.0, 1.0), p=0.0)
    """
    differences = np.subtract(values, baseline)
    if np.ptp(differences) == 0:
        same = float(differences[0])
        return PairedTest(same, (same, same), float(same == 0))
    test = stats.ttest_rel(values, baseline)
    low, high = test.confidence_interval()
    return PairedTest(
        float(differences.mean()), (float(low), float(high)), float(test.pvalue)
    )


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, such as an accuracy.

    Args:
        correct: Integer, how many are right.
        total: Integer, of how many; at least 1.

    Returns:
        Tuple `(low, high)` of floats between 0 and 1.

    Example:

    >>> [round(end, 3) for end in wilson_interval(9, 10)]
    [0.596, 0.982]
    """
    found = stats.binomtest(correct, total).proportion_ci(method="wilson")
    return float(found.low), float(found.high)
