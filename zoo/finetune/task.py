"""What a model is asked: its head, its loss, its metric, and whether labels fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from hornbook.errors import InputError


class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of integer labels with label smoothing, which Keras has for rows.

    It is reduced by Keras, after sample and class weights have been applied.
    """

    def __init__(self, classes: int, label_smoothing: float) -> None:
        super().__init__(name="smoothed_crossentropy")
        self.classes, self.label_smoothing = classes, label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One loss an example."""
        rows = ops.one_hot(ops.reshape(y_true, (-1,)), self.classes)
        return keras.losses.categorical_crossentropy(
            rows, y_pred, label_smoothing=self.label_smoothing
        )


class StandardizedError(keras.losses.Loss):
    """Mean squared error in units of the targets' standard deviations.

    Args:
        scale: Standard deviation of each target; empty for 1.
    """

    def __init__(self, scale: tuple[float, ...] = ()) -> None:
        super().__init__(name="standardized_error")
        self.scale = scale

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One loss an example."""
        error = ops.reshape(ops.cast(y_true, y_pred.dtype), ops.shape(y_pred)) - y_pred
        if self.scale:
            error = error / ops.convert_to_tensor(self.scale, dtype=y_pred.dtype)
        return ops.mean(ops.square(error), axis=-1)


@dataclass(frozen=True)
class Task:
    """A question.

    Attributes:
        kind: "classification", "multi_label" or "regression".
        classes: The classes' names, or those of the numbers; one for each output.
        sparse: Whether labels are the numbers of classes, not rows.
        scale: Standard deviation of each target of a regression; empty for 1.
        offset: Mean of each; empty for 0.
    """

    kind: str
    classes: tuple[str, ...]
    sparse: bool
    scale: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()

    @property
    def activation(self) -> str:
        """Of the last layer."""
        names = {"classification": "softmax", "multi_label": "sigmoid"}
        return names.get(self.kind, "linear")

    @property
    def monitored(self) -> str:
        """The metric's name in the history."""
        return "mae" if self.kind == "regression" else "accuracy"

    def compiled(
        self, label_smoothing: float = 0.0, mixed: bool = False
    ) -> dict[str, Any]:
        """The loss and the metrics for `compile`.

        The metrics are made here: what Keras makes of names has its variables only in
        the first step, which TensorFlow then traces twice.

        Args:
            label_smoothing: 0 to 1.
            mixed: Whether the labels come as one-hot rows all the same.
        """
        if self.kind == "regression":
            error = keras.metrics.MeanAbsoluteError(name="mae")
            return {"loss": StandardizedError(self.scale), "metrics": [error]}
        if self.kind == "multi_label":
            loss = keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing)
            accuracy = keras.metrics.BinaryAccuracy(name="accuracy")
            return {"loss": loss, "metrics": [accuracy]}
        rows = keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
        if mixed or not self.sparse:
            accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
            return {"loss": rows, "metrics": [accuracy]}
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        if not label_smoothing:
            return {"loss": "sparse_categorical_crossentropy", "metrics": [accuracy]}
        loss = SmoothedCrossentropy(len(self.classes), label_smoothing)
        return {"loss": loss, "metrics": [accuracy]}


def read_task(kind: str, classes: Any, labels: Any, whole: bool) -> Task:
    """The task that labels and the user's words make.

    Args:
        kind: "classification", "multi_label" or "regression".
        classes: How many outputs, or their names, or None to take them from labels.
        labels: Array of labels: all, or those of a stream's first batch.
        whole: Whether these are all.

    Returns:
        `Task`.

    Raises:
        InputError: if they don't fit each other.
    """
    labels = np.asarray(labels)
    received = f"Received: labels of {labels.dtype} {labels.shape}, classes={classes}"
    rows = labels.ndim == 2 and (labels.shape[1] > 1 or kind != "classification")
    if labels.ndim > 2 or labels.ndim == 0:
        raise InputError(f"There must be one label or one row for each. {received}")
    if isinstance(classes, int) and classes < 1:
        raise InputError(f"There must be classes. {received}")
    outputs = classes if isinstance(classes, int) else None
    names = tuple(map(str, classes)) if outputs is None and classes else None
    if kind != "classification":
        if labels.dtype.kind not in "iufb" or (kind == "multi_label" and not rows):
            shown = "rows of 0 and 1" if kind == "multi_label" else "numbers"
            raise InputError(f"Labels must be {shown} for {kind}. {received}")
        if kind == "multi_label" and not np.isin(labels, (0, 1)).all():
            raise InputError(f"Labels must be 0 or 1 for multi_label. {received}")
        count = labels.shape[1] if rows else 1
        if kind == "regression" and not np.isfinite(labels).all():
            raise InputError(f"Labels must be finite for regression. {received}")
        names = _names(names, outputs, count, received)
        if kind == "multi_label" or not whole:
            return Task(kind, names, False)
        targets = labels.reshape(len(labels), -1).astype("float64")
        spread = targets.std(axis=0)
        scale = tuple(np.where(spread > 0, spread, 1.0).tolist())
        return Task(kind, names, False, scale, tuple(targets.mean(axis=0).tolist()))
    if rows:
        if labels.dtype.kind not in "iufb" or not np.allclose(labels.sum(axis=1), 1):
            raise InputError(f"One-hot rows must have a sum of 1. {received}")
        count = labels.shape[1]
        return Task(kind, _names(names, outputs, count, received), False)
    if labels.dtype.kind not in "iub":
        raise InputError(f"Labels must be integers, or rows. {received}")
    if names is None and outputs is None and not whole:
        raise InputError(
            f"Say by num_classes how many classes there are, since the labels come as "
            f"a stream. {received}"
        )
    count = len(names) if names else outputs or int(labels.max()) + 1
    if labels.min() < 0 or labels.max() >= count:
        raise InputError(
            f"Labels must be from 0 to {count - 1}, one less than there are classes; "
            f"they are from {labels.min()} to {labels.max()}. {received}"
        )
    if count < 2:
        raise InputError(f"A classifier needs two classes or more. {received}")
    return Task(kind, _names(names, outputs, count, received), True)


def _names(names, outputs, count, received):
    names = names or tuple(map(str, range(outputs or count)))
    if len(names) != count:
        raise InputError(
            f"There must be as many classes as columns, {count}. {received}"
        )
    return names


def number_names(labels: Any, classes: Any) -> tuple[np.ndarray, Any]:
    """Labels that are names as numbers, with the classes they are numbers of.

    Returns:
        `(labels, classes)`, as they were if labels are no names.

    Raises:
        InputError: if a label is none of the classes.

    Example:

    >>> number_names(np.array(["cat", "ant", "cat"]), None)
    (array([1, 0, 1]), ('ant', 'cat'))
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "UO":
        return labels, classes
    if classes is None or isinstance(classes, int):
        classes = tuple(map(str, np.unique(labels.astype(str))))
    places = {name: place for place, name in enumerate(classes)}
    if unknown := sorted(set(labels.astype(str).tolist()) - places.keys()):
        raise InputError(f"A label is none of the classes. Received: {unknown[0]}")
    return np.array([places[name] for name in labels.astype(str)]), tuple(classes)


def class_counts(labels: Any, task: Task) -> dict[str, int]:
    """How many examples each class has: a dict by name.

    Example:

    >>> class_counts(np.array([0, 1, 1]), Task("classification", ("ant", "cat"), True))
    {'ant': 1, 'cat': 2}
    """
    labels = np.asarray(labels)
    counts = (
        np.bincount(labels.ravel(), minlength=len(task.classes))
        if task.sparse
        else np.rint(labels.sum(axis=0)).astype(int)
    )
    return dict(zip(task.classes, counts.tolist(), strict=True))


def balanced_weights(counts: Mapping[str, int]) -> dict[int, float]:
    """Weights by which all classes count alike: those of scikit-learn's "balanced".

    Args:
        counts: Dict as `class_counts` gives it.

    Returns:
        Dict from the class's number to its weight; one without examples has none.
    """
    total, classes = sum(counts.values()), len(counts)
    return {
        place: total / (classes * count)
        for place, count in enumerate(counts.values())
        if count
    }


def weights_by_number(
    weights: str | Mapping[Any, float] | None,
    classes: tuple[str, ...],
    counts: Mapping[str, int],
) -> dict[int, float] | None:
    """Class weights as `fit` takes them.

    Args:
        weights: "balanced", a dict from class name or number to weight, or None.
        classes: The classes' names.
        counts: Examples of each class; empty for a stream.

    Returns:
        Dict from the class's number to its weight, or None.

    Raises:
        InputError: if a key is no class, a weight is negative or not finite, or the
            counts of a stream are asked for.

    Example:

    >>> weights_by_number({"dog": 2.0}, ("cat", "dog"), {})
    {0: 1.0, 1: 2.0}
    """
    if weights is None:
        return None
    if isinstance(weights, str):
        if not counts:
            raise InputError(
                "The classes of a stream can't be counted; give class_weight as a "
                "dict. Received: class_weight=balanced"
            )
        return balanced_weights(counts)
    places = {name: place for place, name in enumerate(classes)}
    found = dict.fromkeys(range(len(classes)), 1.0)
    for key, weight in weights.items():
        place: Any = places.get(key, key) if isinstance(key, str) else key
        is_number = isinstance(place, (int, np.integer)) and not isinstance(place, bool)
        if not is_number or not 0 <= place < len(classes):
            raise InputError(
                f"class_weight must name classes: {', '.join(classes)}. Received: "
                f"{key!r}"
            )
        if not (isinstance(weight, (int, float)) and 0 <= weight < np.inf):
            raise InputError(
                f"A class weight must be a number of at least 0. Received: "
                f"class_weight={{{key!r}: {weight!r}}}"
            )
        found[int(place)] = float(weight)
    return found
