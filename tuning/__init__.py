"""Hyperparameter search with keras-tuner: faster, seeded, and safe to interrupt.

`RandomSearch`, `GridSearch`, `BayesianOptimization` and `Hyperband` replace the classes
of the same names of keras-tuner; `Tuner` is what they share. `CoarseToFine` runs
several searches, a `Stage` each, and narrows the search space in between. `Pool` and
`Ray` run trials in other processes; both are an `Executor`. Each name is imported when
it is first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hornbook.tuning.executors.pool import Pool
    from hornbook.tuning.executors.protocol import Executor
    from hornbook.tuning.executors.ray_cluster import Ray
    from hornbook.tuning.search.coarse_to_fine import CoarseToFine
    from hornbook.tuning.search.stages import Stage
    from hornbook.tuning.search.tuner import Tuner
    from hornbook.tuning.search.tuners import (
        BayesianOptimization,
        GridSearch,
        Hyperband,
        RandomSearch,
    )

__all__ = [
    "BayesianOptimization",
    "CoarseToFine",
    "Executor",
    "GridSearch",
    "Hyperband",
    "Pool",
    "RandomSearch",
    "Ray",
    "Stage",
    "Tuner",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hornbook.tuning.executors import pool, protocol, ray_cluster
    from hornbook.tuning.search import coarse_to_fine, stages, tuner, tuners

    modules = {
        "CoarseToFine": coarse_to_fine,
        "Executor": protocol,
        "Pool": pool,
        "Ray": ray_cluster,
        "Stage": stages,
        "Tuner": tuner,
    }
    return getattr(modules.get(name, tuners), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
