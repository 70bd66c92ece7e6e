"""Which hyperparameters the scores depend on: permutation importance over a forest."""

from dataclasses import dataclass

import numpy as np

TREES = 100
REPEATS = 30
TRIALS_AT_LEAST = 8
ENOUGH = 10  # trials for each hyperparameter


@dataclass
class Importance:
    """How much worse a forest predicts trials when one column is shuffled.

    Attributes:
        names: Of the hyperparameters, the most important first.
        mean: Drop of R² for each.
        sd: Its standard deviation over the shuffles.
        r2: Of the forest on trials that its trees did not see. At 0 or below, it has
            learned nothing, and neither do the figures above tell anything.
        trials: How many trials it saw.
    """

    names: list
    mean: np.ndarray
    sd: np.ndarray
    r2: float
    trials: int

    @property
    def caution(self):
        """A sentence on how far to trust it."""
        told = (
            f"From {self.trials} trials and {len(self.names)} hyperparameters; on "
            f"trials that its trees had not seen the forest has R² = {self.r2:.2f}"
        )
        if self.r2 <= 0:
            return f"{told}: it predicts nothing, so that nothing can be said."
        if self.trials < ENOUGH * len(self.names):
            return f"{told}: with so few trials it is a weak hint."
        return f"{told}."


def encode(trials, space):
    """A table with a row for each trial and a column for each hyperparameter.

    Args:
        trials: List of `Trial`.
        space: As in `Search`.

    Returns:
        The names of those that vary, and a float array `(trials, names)`: logarithms
        where they are drawn from, places among the choices, NaN where inactive.
    """
    names, columns = [], []
    for name, each in space.items():
        column = [_encode_one(trial.values.get(name), each) for trial in trials]
        column = np.array(column, float)
        if len(np.unique(column)) > 1:  # NaN counts as a value: active or not.
            names.append(name)
            columns.append(column)
    return names, np.stack(columns, axis=1) if columns else np.empty((len(trials), 0))


def _encode_one(value, each):
    config = each["config"]
    if value is None:
        return np.nan
    if "min_value" in config:
        is_log = config.get("sampling") in ("log", "reverse_log")
        return np.log10(value) if is_log else value
    values = config.get("values", [False, True])
    return values.index(value) if value in values else np.nan


def rank_importance(trials, space):
    """The importance of each hyperparameter for the order of the trials.

    A forest learns the trials' ranks, since a loss that blew up would outweigh all
    else, and the importance is the mean drop of its R² over 30 shuffles of a column.

    Args:
        trials: List of `Trial` that have a score, of one stage.
        space: As in `Search`.

    Returns:
        `Importance`, or None where there are too few trials, or all are alike.
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
        names=[names[place] for place in order],
        mean=found.importances_mean[order],
        sd=found.importances_std[order],
        r2=float(forest.oob_score_),
        trials=len(trials),
    )
