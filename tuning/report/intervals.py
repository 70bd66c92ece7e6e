"""How sure a trial's score is."""

import math

from scipy.stats import t

from hornbook.stats import wilson_interval


def interval(trial, objective, validated):
    """A 95 % interval for the score of a trial.

    With several trainings it is Student's, around their mean; folds share examples, so
    that it is somewhat too narrow for them. With one training and an accuracy it is
    Wilson's, for so many validation examples. It takes no account of the trial's having
    been picked as the best of many.

    Args:
        trial: A `Trial` with a score.
        objective: Its name.
        validated: How many examples the score is from, or None.

    Returns:
        `(low, high)`, or None where nothing tells.
    """
    if trial.sd is not None:
        count = len(trial.runs)
        half = float(t.ppf(0.975, count - 1)) * trial.sd / math.sqrt(count)
        return trial.score - half, trial.score + half
    is_share = objective.endswith("accuracy") and 0 <= trial.score <= 1
    if not is_share or not validated:
        return None
    return wilson_interval(round(trial.score * validated), validated)
