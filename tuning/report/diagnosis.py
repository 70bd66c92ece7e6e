"""What the doctor says of a search: of its best trial, and of all its trainings."""

from collections import Counter
from dataclasses import dataclass


@dataclass
class Health:
    """How the trainings of a search went, by their curves.

    Attributes:
        best: A `Diagnosis` of the best trial's first training; `None` without a loss.
        counts: Dict from a condition of `verdict` to how many trainings were in it, the
            most frequent first.
        unread: How many trainings kept no loss that can be read.
    """

    best: object
    counts: dict
    unread: int


def diagnose_search(search):
    """Diagnoses the trainings of a search's last stage that has any.

    Args:
        search: A `Search`.

    Returns:
        `Health`, or `None` where no trial has succeeded.
    """
    ranked = search.ranked()
    if not ranked:
        return None
    found = [[_diagnose(run["curves"]) for run in trial.runs] for trial in ranked]
    told = [each.curves.condition for trial in found for each in trial if each]
    return Health(
        best=next(iter(found[0]), None),
        counts=dict(Counter(told).most_common()),
        unread=sum(map(len, found)) - len(told),
    )


def _diagnose(curves):
    from hornbook.zoo.doctor.diagnose import diagnose_history  # it imports Keras

    try:
        return diagnose_history(curves)
    except ValueError:  # no loss, or a negative one
        return None
