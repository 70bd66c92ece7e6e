import math

import numpy as np
import pytest
from scipy import stats

from hornbook.recipes.inference.voting_report import voting_report


def answers(both, mended, broken, neither):
    """Labels, and classes before and after, of so many examples of each kind."""
    kinds = np.repeat([0, 1, 2, 3], [both, mended, broken, neither])
    y_true = np.arange(len(kinds)) % 3
    before = np.where(np.isin(kinds, (0, 2)), y_true, (y_true + 1) % 3)
    after = np.where(np.isin(kinds, (0, 1)), y_true, (y_true + 2) % 3)
    return y_true, before, after


def report(*counts, **options):
    return voting_report(*answers(*counts), **options)


def test_hand_count():
    y_true = [0, 1, 2, 2, 1]
    before = [[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.4, 0.4, 0.2], [1, 0, 0], [0, 1, 0]]
    after = [0, 2, 2, 2, 1]
    result = voting_report(y_true, before, after, seconds=(2, 21))
    assert (result["wrong_to_right"], result["right_to_wrong"]) == (2, 1)
    assert (result["before"], result["after"]) == (0.6, 0.8)
    assert result["examples"] == 5 and result["difference"] == 0.2
    assert result["cost"] == 10.5
    assert voting_report(y_true, before, after)["cost"] is None


def test_scores_count_by_their_highest_the_first_of_equals():
    y_true = np.array([0, 1, 1])
    scores = np.array([[2.0, 2.0], [-3.0, -1.0], [5.0, 5.0]])
    result = voting_report(y_true, scores, y_true)
    assert result["before"] == pytest.approx(2 / 3)
    assert (result["wrong_to_right"], result["right_to_wrong"]) == (1, 0)


@pytest.mark.parametrize(("mended", "broken"), [(7, 3), (3, 7), (1, 9), (40, 22)])
def test_mcnemar_is_the_binomial_tail_twice(mended, broken):
    n, few = mended + broken, min(mended, broken)
    tail = sum(math.comb(n, k) for k in range(few + 1)) / 2**n
    p = report(50, mended, broken, 10)["mcnemar_p"]
    assert p == pytest.approx(min(2 * tail, 1))
    assert p == pytest.approx(stats.binomtest(mended, n).pvalue)


def test_nothing_changed():
    result = report(30, 0, 0, 10)
    assert result["mcnemar_p"] == 1 and result["difference"] == 0
    low, high = result["interval"]
    assert low == pytest.approx(-high) and 0 < high < 0.15


@pytest.mark.parametrize("counts", [(9, 0, 0, 0), (0, 0, 0, 9), (0, 9, 0, 0)])
def test_extremes_stay_within_one(counts):
    low, high = report(*counts)["interval"]
    assert -1 <= low <= report(*counts)["difference"] <= high <= 1 and low < high


def test_the_other_way_round_is_the_mirror_image():
    there, back = report(40, 9, 4, 7), report(40, 4, 9, 7)
    low, high = there["interval"]
    np.testing.assert_allclose(back["interval"], [-high, -low])
    assert back["mcnemar_p"] == there["mcnemar_p"]


def test_interval_by_the_paper_s_formula():
    """Newcombe's method 10 with Wilson's roots, written out."""
    e, f, g, h = 36, 12, 2, 10
    n, z = e + f + g + h, stats.norm.ppf(0.975)

    def roots(x):
        p = x / n
        half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        return [(p + z**2 / (2 * n) + s * half) / (1 + z**2 / n) for s in (-1, 1)]

    (l2, u2), (l3, u3) = roots(e + f), roots(e + g)
    product = (e + f) * (g + h) * (e + g) * (f + h)
    phi = max(e * h - f * g - n / 2, 0) / math.sqrt(product)
    p2, p3 = (e + f) / n, (e + g) / n
    below = (p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u3 - p3) + (u3 - p3) ** 2
    above = (u2 - p2) ** 2 - 2 * phi * (u2 - p2) * (p3 - l3) + (p3 - l3) ** 2
    expected = [p2 - p3 - math.sqrt(below), p2 - p3 + math.sqrt(above)]
    np.testing.assert_allclose(report(e, f, g, h)["interval"], expected)


def test_of_many_examples_it_is_wald_s():
    low, high = report(7000, 600, 400, 2000)["interval"]
    sd = math.sqrt(0.06 + 0.04 - 0.02**2) / 100
    np.testing.assert_allclose([low, high], 0.02 + 1.96 * sd * np.array([-1, 1]), 0.03)


@pytest.mark.parametrize(
    ("shares", "examples", "confidence_level"),
    [((0.85, 0.06, 0.03, 0.06), 100, 0.95), ((0.5, 0.2, 0.1, 0.2), 60, 0.8)],
)
def test_interval_covers_the_truth_as_often_as_it_says(
    shares, examples, confidence_level
):
    rng = np.random.default_rng(0)
    truth, trials = shares[1] - shares[2], 600
    covered = 0
    for counts in rng.multinomial(examples, shares, trials):
        low, high = report(*counts, confidence_level=confidence_level)["interval"]
        covered += low <= truth <= high
    # Three standard deviations of a count, and the point or two it is conservative.
    assert confidence_level - 0.04 < covered / trials < confidence_level + 0.05


def test_numbers_are_json():
    import json

    result = report(30, 5, 3, 10, seconds=(1, 2))
    assert json.loads(json.dumps(result)) == result


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_true": []}, r"Received: shape=\(0,\)"),
        ({"y_true": [[0, 1]]}, r"Received: shape=\(1, 2\)"),
        ({"before": [0]}, r"`before` must be .* 2 examples\. Received: shape=\(1,\)"),
        ({"after": 1}, r"`after` must be .*Received: shape=\(\)"),
        ({"after": [[0.5, np.nan], [1, 0]]}, "`after` must be finite"),
        ({"seconds": (1, 0)}, r"Received: seconds=\(1, 0\)"),
        ({"seconds": (1,)}, r"Received: seconds=\(1,\)"),
        ({"confidence_level": 95}, "Received: confidence_level=95"),
    ],
)
def test_bad_arguments(change, message):
    given = {"y_true": [0, 1], "before": [0, 1], "after": [0, 1], **change}
    with pytest.raises(ValueError, match=message):
        voting_report(**given)
