"""Parsed arguments of `keras.Model.fit`, for data in memory."""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import tree

from hornbook.batch_hooks import wants_batches
from hornbook.tuning.warm.plain_fit import NeedsPlainFit


@dataclass
class FitArguments:
    """Parsed `fit` arguments.

    Attributes:
        data: Arrays to train on, in the structure of a batch: `x`, `(x, y)` or
            `(x, y, sample_weight)`.
        train_indices: Indices of the examples to train on; `None` for all.
        validation_data: Arrays to validate on, as `data`, or `None`.
        validation_indices: Indices of the examples to validate on; `None` for all.
        others: The other arguments of `fit`, by name, with their defaults.
    """

    data: Any
    train_indices: np.ndarray | None
    validation_data: Any
    validation_indices: np.ndarray | None
    others: dict[str, Any]

    @property
    def batch_size(self) -> int:
        """Number of examples in a batch."""
        return self.others["batch_size"] or 32

    @property
    def first_batch(self) -> Any:
        """The first batch of the data, in the order in which they were given."""
        return tree.map_structure(lambda x: x[: self.batch_size], self.data)


def parse_fit_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> FitArguments:
    """Parses the arguments of `fit`.

    Args:
        args: Positional arguments.
        kwargs: Dict of keyword arguments.

    Raises:
        NeedsPlainFit: If epochs cannot be run as a whole: the data are not in memory,
            or a callback has to be called at each batch.
    """
    bound = inspect.signature(keras.Model.fit).bind(None, *args, **kwargs)
    bound.apply_defaults()
    others = dict(bound.arguments)
    others.pop("self", None)
    x, y, weight = (others.pop(name) for name in ("x", "y", "sample_weight"))
    validation_data = others.pop("validation_data")
    validation_split = others.pop("validation_split")
    for name in ("steps_per_epoch", "validation_steps"):
        if others[name] is not None:
            raise NeedsPlainFit(f"`{name}` is given")
    for callback in others["callbacks"] or ():
        if wants_batches(callback):
            kind = type(callback).__name__
            raise NeedsPlainFit(f"the callback {kind} has to be called at each batch")
    if others["class_weight"] is not None:
        if weight is not None or tree.is_nested(y):
            raise NeedsPlainFit(
                "`class_weight` is given together with `sample_weight` or several "
                "outputs"
            )
        weight = _sample_weight(y, others["class_weight"])
    data = _pack(x, y, weight)
    train_indices = validation_indices = None
    if validation_data is not None:
        unpacked = keras.utils.unpack_x_y_sample_weight(validation_data)
        validation_data = _pack(*unpacked)
    elif validation_split:
        size = count_examples(data)
        cut = math.floor(size * (1 - validation_split))
        if not 0 < cut < size:
            raise NeedsPlainFit(
                f"`validation_split={validation_split}` leaves one part empty"
            )
        validation_data = data
        train_indices, validation_indices = np.arange(cut), np.arange(cut, size)
    return FitArguments(
        data, train_indices, validation_data, validation_indices, others
    )


def count_examples(data: Any) -> int:
    """Returns the number of examples in nested arrays.

    Example:

    >>> count_examples(({"a": np.zeros((5, 2)), "b": np.zeros(5)}, np.zeros(5)))
    5
    """
    return len(tree.flatten(data)[0])


def _sample_weight(y: Any, class_weight: Mapping[int, float]) -> np.ndarray:
    labels = keras.ops.convert_to_numpy(y)
    if labels.ndim > 1 and labels.shape[-1] != 1:
        labels = labels.argmax(axis=-1)
    labels = np.round(labels.reshape(-1)).astype(int)
    weights = [class_weight.get(label, 1.0) for label in labels.tolist()]
    return np.array(weights, keras.config.floatx())


def _pack(x: Any, y: Any = None, weight: Any = None) -> Any:
    data = keras.utils.pack_x_y_sample_weight(x, y, weight)
    leaves = tree.flatten(data)
    for leaf in leaves:
        is_array = isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biuf"
        if isinstance(leaf, np.memmap) or not (is_array or keras.ops.is_tensor(leaf)):
            raise NeedsPlainFit(f"data of type {type(leaf).__name__} are not in memory")
    sizes = {len(leaf) for leaf in leaves}
    if len(sizes) != 1 or 0 in sizes:
        raise NeedsPlainFit(
            f"the data have different numbers of examples, {sorted(sizes)}"
        )
    return data
