# SPDX-License-Identifier: Apache-2.0
"""voting_report: what a vote or an ensemble corrected, broke and cost.

What:    compares predictions before and after a change on the same labelled examples.
When:    deciding whether votes, ensembles or any other change are worth their cost.
Not for: predictions on different examples, which cannot be paired; choosing among many
         changes on the test set.
Source:  McNemar, "Note on the Sampling Error of the Difference Between Correlated
         Proportions or Percentages", Psychometrika 1947; Newcombe, "Improved Confidence
         Intervals for the Difference Between Binomial Proportions Based on Paired
         Data", Statistics in Medicine 1998, method 10.
Differs: McNemar's test in its exact form, by the binomial distribution.
Needs:   numpy; scipy.
"""

import math
from typing import Any

import numpy as np


def voting_report(
    y_true: np.typing.ArrayLike,
    before: np.typing.ArrayLike,
    after: np.typing.ArrayLike,
    seconds: tuple[float, float] | None = None,
    confidence_level: float = 0.95,
) -> dict[str, Any]:
    """Compares two sets of predictions on the same examples.

    Two accuracies on the same examples are not independent: most examples are easy
    or hard for both. What counts are the examples that only one gets right.

    Args:
        y_true: Integers `(examples,)`, the true classes.
        before: Predictions to compare with: classes `(examples,)`, or probabilities or
            other scores `(examples, classes)`, of which the highest counts, the first
            of equals.
        after: The predictions of the vote or the ensemble, in either form.
        seconds: Two positive numbers, the time that `before` and `after` took.
            Defaults to `None`.
        confidence_level: Float in (0, 1), of the interval. Defaults to 0.95.

    Returns:
        Dict of Python numbers:

        - `examples`: how many there are;
        - `before`, `after`: the two accuracies, and `difference`, how much `after` is
          better;
        - `interval`: the confidence interval of the difference, as a list of two, by
          Newcombe's method for pairs;
        - `wrong_to_right`, `right_to_wrong`: how many were corrected and broken;
        - `mcnemar_p`: the probability of a split of these that is at least as uneven,
          if both were equally likely; 1 if there are none;
        - `cost`: how many times as long it took; `None` without `seconds`.

    Raises:
        ValueError: If there are no examples, their numbers differ, a score is not
            finite, or `seconds` or `confidence_level` is none of the above.

    Example:
    >>> y_true = [0, 0, 1, 1]
    >>> before = [[0.4, 0.6], [0.9, 0.1], [0.3, 0.7], [0.8, 0.2]]
    >>> report = voting_report(y_true, before, [0, 0, 1, 0], seconds=(1.0, 10.0))
    >>> report["wrong_to_right"], report["right_to_wrong"], report["cost"]
    (1, 0, 10.0)
    >>> report["difference"], report["mcnemar_p"]
    (0.25, 1.0)
    """
    from scipy.stats import binomtest

    y_true = np.asarray(y_true)
    if y_true.ndim != 1 or not len(y_true):
        raise ValueError(
            "`y_true` must be one-dimensional and not empty. "
            f"Received: shape={y_true.shape}"
        )
    if not 0 < confidence_level < 1:
        raise ValueError(
            "`confidence_level` must be between 0 and 1. "
            f"Received: confidence_level={confidence_level}"
        )
    if seconds is not None and (len(seconds) != 2 or not min(seconds) > 0):
        raise ValueError(
            f"`seconds` must be two positive numbers. Received: seconds={seconds}"
        )
    right = _right(y_true, before, "before")
    right_after = _right(y_true, after, "after")
    corrected = int((~right & right_after).sum())
    broken = int((right & ~right_after).sum())
    changed = corrected + broken
    both = int((right & right_after).sum())
    return {
        "examples": len(y_true),
        "before": float(right.mean()),
        "after": float(right_after.mean()),
        "difference": (corrected - broken) / len(y_true),
        "interval": _newcombe(both, corrected, broken, len(y_true), confidence_level),
        "wrong_to_right": corrected,
        "right_to_wrong": broken,
        "mcnemar_p": float(binomtest(corrected, changed).pvalue) if changed else 1.0,
        "cost": None if seconds is None else seconds[1] / seconds[0],
    }


def _right(y_true, predictions, name):
    """Which predictions are right."""
    predictions = np.asarray(predictions)
    if predictions.ndim not in (1, 2) or len(predictions) != len(y_true):
        raise ValueError(
            f"`{name}` must be (examples,) or (examples, classes) for {len(y_true)} "
            f"examples. Received: shape={predictions.shape}"
        )
    if not np.isfinite(predictions).all():
        raise ValueError(f"`{name}` must be finite. Received: {name}={predictions}")
    if predictions.ndim == 2:
        predictions = predictions.argmax(axis=1)
    return predictions == y_true


def _newcombe(both, corrected, broken, examples, confidence_level):
    """The interval of the difference, `after` less `before`, as a list of two."""
    from scipy.stats import binomtest

    def wilson(right):
        interval = binomtest(right, examples).proportion_ci(confidence_level, "wilson")
        return right / examples - interval.low, interval.high - right / examples

    before, after = both + broken, both + corrected
    neither = examples - both - corrected - broken
    # How the two go together, with Newcombe's correction where they agree.
    phi = both * neither - corrected * broken
    if phi > 0:
        phi = max(phi - examples / 2, 0)
    if phi:
        phi /= math.sqrt(before * after * (examples - before) * (examples - after))
    (low_before, high_before), (low_after, high_after) = wilson(before), wilson(after)
    difference = (corrected - broken) / examples

    def reach(x, y):
        return math.sqrt(x**2 - 2 * phi * x * y + y**2)

    return [
        difference - reach(low_after, high_before),
        difference + reach(high_after, low_before),
    ]
