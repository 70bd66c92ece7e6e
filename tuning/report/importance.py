"""The importance of hyperparameters: permutation importance of a random forest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hornbook.tuning.report.read import Trial

TREES = 100
REPEATS = 30
TRIALS_AT_LEAST = 8
TRIALS_PER_HYPERPARAMETER = 10  # With fewer, the report says so.


@dataclass
class Importance:
    """How much worse a forest predicts the trials when one column is shuffled.

    Attributes:
        names: List of the names of the hyperparameters, the most important first.
        mean: Array, for each hyperparameter the mean drop of R².
        sd: Array, the standard deviations of the drops over the shuffles.
        r2: Float, the out-of-bag R² of the forest. At 0 or below the forest has learned
            nothing, and the importances mean nothing.
        trials: Integer, the number of trials it was fitted to.
    """

    names: list[str]
    mean: np.ndarray
    sd: np.ndarray
    r2: float
    trials: int

    @property
    def caution(self) -> str:
        """A sentence on how much to trust it."""
        source = (
            f"From {self.trials} trials and {len(self.names)} hyperparameters; the "
            f"out-of-bag R² of the forest is {self.r2:.2f}"
        )
        if self.r2 <= 0:
            return f"{source}, so it predicts nothing and tells no importance."
        if self.trials < TRIALS_PER_HYPERPARAMETER * len(self.names):
            return f"{source}. With so few trials it is only a hint."
        return f"{source}."


def encode(
    trials: Sequence[Trial], space: Mapping[str, Any]
) -> tuple[list[str], np.ndarray]:
    """Returns a table with a row for each trial and a column for each hyperparameter.

    Args:
        trials: List of `Trial`.
        space: As in `Search`.

    Returns:
        List of the names of the hyperparameters that vary, and a float array of shape
        `(trials, names)`. It has the logarithm of a value that is sampled on a
        logarithmic scale, the index of a choice, and NaN where a hyperparameter is
        inactive.
    """
    names, columns = [], []
    for name, each in space.items():
        column = [_encode_one(trial.values.get(name), each) for trial in trials]
        column = np.array(column, float)
        if len(np.unique(column)) > 1:  # NaN counts as a value: active or not.
            names.append(name)
            columns.append(column)
    return names, np.stack(columns, axis=1) if columns else np.empty((len(trials), 0))


def _encode_one(value: Any, each: Mapping[str, Any]) -> float:
    config = each["config"]
    if value is None:
        return np.nan
    if "min_value" in config:
        is_log = config.get("sampling") in ("log", "reverse_log")
        return np.log10(value) if is_log else value
    values = config.get("values", [False, True])
    return values.index(value) if value in values else np.nan


def rank_importance(
    trials: Sequence[Trial], space: Mapping[str, Any]
) -> Importance | None:
    """Returns the importance of each hyperparameter for the ranking of the trials.

    The forest is fitted to the ranks of the trials, since a loss that diverged would
    outweigh all others. The importance is the mean drop of its R² over 30 shuffles of a
    column.

    Args:
        trials: List of `Trial` with a score, all of one stage.
        space: As in `Search`.

    Returns:
        An `Importance`, or `None` if there are too few trials or all scores are equal.
    """
    from scipy.stats import rankdata
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    names, table = encode(trials, space)
    if len(trials) < TRIALS_AT_LEAST or not names:
        return None
    ranks = rankdata([trial.score for trial in trials])
    if np.ptp(ranks) == 0:
        return None
    forest = RandomForestRegressor(
        TREES, min_samples_leaf=2, oob_score=True, random_state=0
    )
    forest.fit(table, ranks)
    found = permutation_importance(
        forest, table, ranks, n_repeats=REPEATS, random_state=0
    )
    order = np.argsort(-found.importances_mean, kind="stable")
    return Importance(
        names=[names[index] for index in order],
        mean=found.importances_mean[order],
        sd=found.importances_std[order],
        r2=float(forest.oob_score_),
        trials=len(trials),
    )
