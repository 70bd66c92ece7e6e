"""Diagnoses the learning curves of a search with `hornbook.zoo.doctor`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hornbook.tuning.report.read import Search


@dataclass
class Health:
    """How the trainings of a search went, judged by their curves.

    Attributes:
        best: A `Diagnosis` of the first training of the best trial; `None` if no loss
            was recorded.
        counts: Dict from a condition, such as "overfitting", to the number of trainings
            in that condition, the most frequent first.
        unread: Integer, the number of trainings without a loss that can be read.
    """

    best: Any
    counts: dict[str, int]
    unread: int


def diagnose_search(search: Search) -> Health | None:
    """Diagnoses the trainings of a search, in the last stage that has any.

    Args:
        search: A `Search`.

    Returns:
        A `Health`, or `None` if no trial has succeeded.
    """
    ranked = search.ranked()
    if not ranked:
        return None
    found = [[_diagnose(run["curves"]) for run in trial.runs] for trial in ranked]
    conditions = [each.curves.condition for trial in found for each in trial if each]
    return Health(
        best=next(iter(found[0]), None),
        counts=dict(Counter(conditions).most_common()),
        unread=sum(map(len, found)) - len(conditions),
    )


def _diagnose(curves: Mapping[str, Sequence[float]]) -> Any:
    from hornbook.zoo.doctor.diagnose import diagnose_history  # It imports Keras.

    try:
        return diagnose_history(curves)
    except ValueError:  # No loss, or a negative one.
        return None
