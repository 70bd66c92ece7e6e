"""The stages of a coarse-to-fine search, and the plan that they make."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras_tuner

from hornbook.errors import InputError
from hornbook.tuning.search.grid import coarsen
from hornbook.tuning.search.narrowing import TRIALS_AT_LEAST

SEARCHES = ("random", "grid")


@dataclass(frozen=True)
class Stage:
    """A part of a coarse-to-fine search.

    Attributes:
        search: "random" or "grid".
        share: Float in (0, 1], the share of all epochs that this stage may train.
        length: Float in (0, 1], the length of its trainings as a share of the `epochs`
            given to `search`.
    """

    search: str = "random"
    share: float = 1.0
    length: float = 1.0


STAGES = (Stage(share=0.4, length=0.25), Stage(share=0.6))


def check_stages(stages: Sequence[Stage], keep: float) -> None:
    """Checks the arguments `stages` and `keep` of a `CoarseToFine`.

    Args:
        stages: List of `Stage`.
        keep: Float, the share of a stage's trials that count as its best.

    Raises:
        InputError: If one of them is wrong.
    """
    for stage in stages:
        if stage.search not in SEARCHES:
            raise InputError(
                f"The search of a stage must be one of {', '.join(SEARCHES)}. "
                f"Received: search={stage.search}"
            )
        if not (0 < stage.share <= 1 and 0 < stage.length <= 1):
            raise InputError(
                "The share and the length of a stage must be in (0, 1]. "
                f"Received: {stage}"
            )
    total = sum(stage.share for stage in stages)
    if len(stages) < 2 or not math.isclose(total, 1):
        raise InputError(
            "There must be at least two stages, and their shares must add up to 1. "
            f"Received: stages={stages}"
        )
    if not 0 < keep < 1:
        raise InputError(f"`keep` must be between 0 and 1. Received: keep={keep}")


def make_plan(
    stages: Sequence[Stage],
    space: keras_tuner.HyperParameters,
    max_trials: int,
    epochs: int,
) -> list[dict[str, Any]]:
    """Divides the epochs of a search among its stages.

    Args:
        stages: List of `Stage`.
        space: The search space, whose grid is coarsened for stages of a grid search.
        max_trials: Integer, how many whole trainings the search may cost.
        epochs: Integer, the epochs of a whole training.

    Returns:
        List of dicts, one for each stage: "name", "search", "trials" and "epochs".

    Raises:
        InputError: If a stage has too few trials.
    """
    plan = []
    for number, stage in enumerate(stages, 1):
        length = max(1, round(epochs * stage.length))
        # Shares such as 0.6 are a little smaller than they look.
        trials = math.floor(max_trials * epochs * stage.share / length + 1e-9)
        is_last = number == len(stages)
        if trials < (1 if is_last else TRIALS_AT_LEAST):
            raise InputError(
                f"Stage {number} would have {trials} trials of {length} epochs, which "
                "is too few to narrow the search space. "
                f"Received: max_trials={max_trials}, epochs={epochs}"
            )
        if stage.search == "grid":
            trials = coarsen(space, trials)[1]
        plan.append(
            {"name": f"stage-{number}", "search": stage.search}
            | {"trials": trials, "epochs": length}
        )
    return plan
