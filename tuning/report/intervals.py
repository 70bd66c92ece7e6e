"""Confidence intervals for the score of a trial."""

import math

from scipy.stats import t

from hornbook.stats import wilson_interval
from hornbook.tuning.report.read import Trial


def interval(
    trial: Trial, objective: str, validated: int | None
) -> tuple[float, float] | None:
    """Returns a 95 % interval for the score of a trial.

    With several trainings it is Student's interval around their mean; for folds, which
    share examples, it is somewhat too narrow. With one training and an accuracy it is
    Wilson's interval. It does not take into account that the trial was selected as the
    best of many.

    Args:
        trial: A `Trial` with a score.
        objective: String, the name of the objective.
        validated: Integer, the number of validation examples, or `None`.

    Returns:
        Pair of floats `(low, high)`, or `None` if nothing is known.
    """
    if trial.sd is not None:
        count = len(trial.runs)
        half = float(t.ppf(0.975, count - 1)) * trial.sd / math.sqrt(count)
        return trial.score - half, trial.score + half
    is_share = objective.endswith("accuracy") and 0 <= trial.score <= 1
    if not is_share or not validated:
        return None
    return wilson_interval(round(trial.score * validated), validated)
