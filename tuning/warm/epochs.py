"""Whole epochs of training and validation, over data that lie on the device.

`backend_epochs(model)` returns the `Epochs` of the backend that Keras runs on.
"""

import abc
import contextlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

Logs = dict[str, float]
# A function from a dict of scalar tensors to a context in which they stand in a model.
Substituted = Callable[[Any], contextlib.AbstractContextManager[Any]]


class EpochRequest(NamedTuple):
    """An epoch to run.

    Attributes:
        kind: "train" or "test".
        data: Tensors in the structure of a batch, from `Epochs.to_device`.
        order: Array of int32, the indices of the examples in the order of the epoch.
        batch_size: Integer, the number of examples in a batch.
    """

    kind: Literal["train", "test"]
    data: Any
    order: np.ndarray
    batch_size: int


class Epochs(abc.ABC):
    """Runs whole epochs of a model.

    Args:
        model: A compiled `keras.Model` whose optimizer is built.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.values: dict[str, float] = {}
        self.substituted: Substituted = contextlib.nullcontext

    def trace_with(self, values: dict[str, float], substituted: Substituted) -> None:
        """Has steps traced with `TracedScalar`s in the place of floats.

        Args:
            values: Dict from path to float; `set_values` sets them before each run.
            substituted: Function from a dict of scalar tensors by path to a context
                manager, inside which `TracedScalar`s of these tensors stand in the
                model.
        """
        self.values, self.substituted = dict(values), substituted

    def set_values(self, values: dict[str, float]) -> None:
        """Sets the floats that compiled steps are run with.

        Args:
            values: Dict from path to float, with the paths given to `trace_with`.
        """
        self.values = dict(values)

    @staticmethod
    @abc.abstractmethod
    def to_device(array: Any) -> Any:
        """Copies an array to the device, and returns the tensor."""

    @staticmethod
    def copy(source: keras.Variable, target: keras.Variable) -> None:
        """Gives a variable the value of another."""
        target.assign(source)

    @abc.abstractmethod
    def prepare(self, request: EpochRequest) -> None:
        """Traces and compiles an epoch, unless that was done before.

        It raises what the model or a `TracedScalar` raises, before anything is trained.

        Args:
            request: An epoch like those that will be run.
        """

    @abc.abstractmethod
    def run(self, request: EpochRequest) -> dict[str, Any]:
        """Resets the metrics and runs an epoch that was prepared.

        Args:
            request: The epoch to run.

        Returns:
            Dict from the name of a metric to a scalar tensor, the logs of the last
            step.
        """


def backend_epochs(model: keras.Model) -> Epochs:
    """Returns the `Epochs` of the backend that Keras runs on.

    Args:
        model: A compiled `keras.Model` whose optimizer is built.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from hornbook.tuning.warm.epochs_tensorflow import TensorFlowEpochs

        return TensorFlowEpochs(model)
    if backend == "jax":
        from hornbook.tuning.warm.epochs_jax import JaxEpochs

        return JaxEpochs(model)
    from hornbook.tuning.warm.epochs_torch import TorchEpochs

    return TorchEpochs(model)
