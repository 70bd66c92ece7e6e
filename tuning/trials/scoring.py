"""Which epoch, or epochs, of a training are its score."""

import numpy as np
from keras_tuner.errors import FailedTrialError

from hornbook.errors import InputError


def check_rule(rule):
    """Raises `InputError` unless the rule is "best", "last" or ("mean", k)."""
    if rule in ("best", "last"):
        return
    if isinstance(rule, (tuple, list)) and len(rule) == 2:
        kind, length = rule
        if kind == "mean" and isinstance(length, int) and length > 0:
            return
    raise InputError(
        "`score` must be 'best', 'last' or ('mean', k) with k epochs, the last ones. "
        f"Received: score={rule}"
    )


def score_history(curves, objective, rule):
    """Scores a training by a rule.

    Args:
        curves: Dict from metric to its values, one for each epoch, as in `History`.
        objective: A `keras_tuner.Objective`, or a sum of several.
        rule: "best": the metrics of the epoch in which the objective was best, as
            keras-tuner does, which is optimistic. "last": of the last epoch.
            ("mean", k): the means over the last k epochs.

    Returns:
        Dict of metrics with the objective among them, and the epoch, counted from 0.

    Raises:
        FailedTrialError: if the objective is not a number, or missing.
    """
    length = max(map(len, curves.values()), default=0)
    # A metric of the validation may be missing in some epochs.
    full = {name: values for name, values in curves.items() if len(values) == length}
    epochs = [
        {name: values[epoch] for name, values in full.items()}
        for epoch in range(length)
    ]
    if not epochs:
        raise FailedTrialError("No epoch was trained.")
    if not objective.has_value(epochs[0]):
        raise FailedTrialError(
            f"The objective `{objective.name}` is not among the metrics of each epoch: "
            f"{sorted(curves)}"
        )
    values = [objective.get_value(metrics) for metrics in epochs]
    if rule == "best":
        finite = [i for i, value in enumerate(values) if np.isfinite(value)]
        sign = -1 if objective.direction == "max" else 1
        place = min(finite, key=lambda i: sign * values[i], default=0)
        metrics = epochs[place]
    elif rule == "last":
        place = length - 1
        metrics = epochs[place]
    else:
        place, last = length - 1, epochs[-rule[1] :]
        metrics = {name: float(np.mean([e[name] for e in last])) for name in full}
    metrics = metrics | {objective.name: objective.get_value(metrics)}
    if not np.isfinite(metrics[objective.name]):
        first = next(i for i, value in enumerate(values) if not np.isfinite(value))
        raise FailedTrialError(
            f"`{objective.name}` became {values[first]} in epoch {first + 1}."
        )
    return metrics, place
