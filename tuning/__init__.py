"""Searching for hyperparameters with keras-tuner, faster, seeded and safe.

`RandomSearch`, `GridSearch`, `BayesianOptimization` and `Hyperband` stand in for
keras-tuner's. They are imported when they are first asked for.
"""

__all__ = ["BayesianOptimization", "GridSearch", "Hyperband", "RandomSearch"]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hornbook.tuning import tuners

    return getattr(tuners, name)
