"""Searching for hyperparameters with keras-tuner, faster, seeded and safe.

`RandomSearch`, `GridSearch`, `BayesianOptimization` and `Hyperband` stand in for
keras-tuner's; `CoarseToFine` runs several of them, a `Stage` each, and narrows the
space in between; `Pool` and `Ray` run trials elsewhere. All are imported when they are
first asked for.
"""

__all__ = [
    "BayesianOptimization",
    "CoarseToFine",
    "GridSearch",
    "Hyperband",
    "Pool",
    "RandomSearch",
    "Ray",
    "Stage",
]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hornbook.tuning.executors import pool, ray_cluster
    from hornbook.tuning.search import coarse_to_fine, tuners

    homes = {"Pool": pool, "Ray": ray_cluster}
    homes |= {"CoarseToFine": coarse_to_fine, "Stage": coarse_to_fine}
    return getattr(homes.get(name, tuners), name)
