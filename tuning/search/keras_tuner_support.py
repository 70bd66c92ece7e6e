"""What it takes to run our trials inside keras-tuner's classes."""

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

from keras_tuner.errors import FatalError

from hornbook.resource_errors import DiskFull


class FatalDiskFull(FatalError, DiskFull):
    """Ends the search: keras-tuner would count any other error against the trial."""


@contextlib.contextmanager
def replaced(instance: Any, name: str, value: Any) -> Iterator[None]:
    """Replaces a method of one instance for a while.

    Args:
        instance: The object.
        name: String, the name of the method.
        value: Function that takes its place.
    """
    vars(instance)[name] = value
    try:
        yield
    finally:
        del vars(instance)[name]


def return_first(results: Any, *args: Any, **kwargs: Any) -> Any:
    """Returns the first argument, in the place of a `run_trial` that has run."""
    return results


class Outcome(dict[str, float]):
    """Metrics of a trial, and `step`, the epoch that they belong to.

    Args:
        record: The record of the trial.
    """

    def __init__(self, record: dict[str, Any]) -> None:
        super().__init__(record["metrics"])
        self.step: int = record["epoch"]


@contextlib.contextmanager
def freezing_garbage() -> Iterator[None]:
    """Has garbage collection skip all objects that exist now, which takes long."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
