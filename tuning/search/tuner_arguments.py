"""Checks the arguments of a search before anything is trained or written."""

import os
from typing import Any

from hornbook.errors import InputError
from hornbook.tuning.executors.population_driver import check_population
from hornbook.tuning.executors.protocol import Executor
from hornbook.tuning.trials.callbacks import PRUNING_RULES
from hornbook.tuning.trials.scoring import check_rule

CHIEF_AND_WORKERS = (
    "keras-tuner's chief and workers are not used here, because they hang when one of "
    "them dies. Unset {names}, and pass `executor=hornbook.tuning.Pool(workers=4)` to "
    "run trials side by side on this machine, or `hornbook.tuning.Ray(address)` on "
    "several. Received: {names}"
)


def check_arguments(
    warm: bool,
    score: Any,
    folds: int | None,
    prune: str | None,
    population: int | None,
    executor: Executor | None,
) -> None:
    """Checks the arguments of a `Tuner`.

    Args:
        warm: As for `Tuner`.
        score: As for `Tuner`.
        folds: As for `Tuner`.
        prune: As for `Tuner`.
        population: As for `Tuner`.
        executor: As for `Tuner`.

    Raises:
        InputError: If one is wrong, or two of them exclude each other.
    """
    if population is not None:
        check_population(population)
        if executor is not None or not warm:
            raise InputError(
                "`population` trains warm trials in this process. Received: "
                f"population={population}, warm={warm}, executor={executor!r}"
            )
    if not (executor is None or isinstance(executor, Executor)):
        raise InputError(
            "`executor` must be None, a `hornbook.tuning.Pool`, a "
            "`hornbook.tuning.Ray` or another `hornbook.tuning.Executor`. "
            f"Received: executor={executor!r}"
        )
    check_rule(score)
    if folds is not None and (not isinstance(folds, int) or folds < 2):
        raise InputError(f"`folds` must be at least 2. Received: folds={folds}")
    if prune not in PRUNING_RULES:
        raise InputError(
            f"`prune` must be one of {PRUNING_RULES}. Received: prune={prune}"
        )


def check_environment() -> None:
    """Checks that keras-tuner is not told to be a chief or a worker.

    Raises:
        InputError: If an environment variable tells it so.
    """
    names = [name for name in os.environ if name.startswith("KERASTUNER_ORACLE")]
    if names:
        shown = " and ".join(sorted(names))
        raise InputError(CHIEF_AND_WORKERS.format(names=shown))
