"""Scores a training: which of its epochs count."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.errors import FailedTrialError

from hornbook.errors import InputError


def check_rule(rule: Any) -> None:
    """Checks a rule for `score_history`.

    Args:
        rule: "best", "last" or `("mean", k)`.

    Raises:
        InputError: If it is anything else.
    """
    if rule in ("best", "last"):
        return
    if isinstance(rule, (tuple, list)) and len(rule) == 2:
        kind, length = rule
        if kind == "mean" and isinstance(length, int) and length > 0:
            return
    raise InputError(
        "`score` must be 'best', 'last' or ('mean', k), the mean over the last k "
        f"epochs. Received: score={rule}"
    )


def score_history(
    curves: Mapping[str, Sequence[float]],
    objective: keras_tuner.Objective,
    rule: Any,
) -> tuple[dict[str, float], int]:
    """Scores a training.

    Args:
        curves: Dict from the name of a metric to its values, one for each epoch, as in
            `keras.callbacks.History`.
        objective: A `keras_tuner.Objective`, or a sum of several.
        rule: "best" takes the metrics of the epoch in which the objective was best, as
            keras-tuner does, which is optimistic. "last" takes those of the last epoch.
            `("mean", k)` takes the means over the last k epochs.

    Returns:
        Dict of metrics with the objective among them, and the epoch, counted from 0.

    Raises:
        FailedTrialError: If the objective is missing or not a finite number.

    Example:

    >>> objective = keras_tuner.Objective("val_loss", "min")
    >>> score_history({"val_loss": [0.9, 0.5, 0.7]}, objective, "best")
    ({'val_loss': 0.5}, 1)
    >>> score_history({"val_loss": [0.9, 0.5, 0.7]}, objective, ("mean", 2))
    ({'val_loss': 0.6}, 2)
    """
    length = max(map(len, curves.values()), default=0)
    # Metrics of the validation may be missing in some epochs.
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
        epoch = min(finite, key=lambda i: sign * values[i], default=0)
        metrics = epochs[epoch]
    elif rule == "last":
        epoch = length - 1
        metrics = epochs[epoch]
    else:
        epoch, last = length - 1, epochs[-rule[1] :]
        metrics = {name: float(np.mean([e[name] for e in last])) for name in full}
    metrics = metrics | {objective.name: objective.get_value(metrics)}
    if not np.isfinite(metrics[objective.name]):
        first = next(i for i, value in enumerate(values) if not np.isfinite(value))
        raise FailedTrialError(
            f"`{objective.name}` became {values[first]} in epoch {first + 1}."
        )
    return metrics, epoch
