"""What a model is asked: its head, its loss, its metric, and whether labels fit."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from hornbook.errors import InputError


@dataclass(frozen=True)
class Task:
    """A question.

    Attributes:
        kind: "classification", "multi_label" or "regression".
        classes: The classes' names, or those of the numbers; one for each output.
        sparse: Whether labels are the numbers of classes, not rows.
    """

    kind: str
    classes: tuple[str, ...]
    sparse: bool

    @property
    def activation(self):
        """Of the last layer."""
        names = {"classification": "softmax", "multi_label": "sigmoid"}
        return names.get(self.kind, "linear")

    @property
    def monitored(self):
        """The metric's name in the history."""
        return "mae" if self.kind == "regression" else "accuracy"

    def compiled(self, label_smoothing=0.0, mixed=False):
        """The loss and the metrics for `compile`.

        The metrics are made here: what Keras makes of names has its variables only in
        the first step, which TensorFlow then traces twice.

        Args:
            label_smoothing: 0 to 1.
            mixed: Whether the labels come as one-hot rows all the same.
        """
        if self.kind == "regression":
            error = keras.metrics.MeanAbsoluteError(name="mae")
            return {"loss": "mse", "metrics": [error]}
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

        def smoothed(labels, probabilities):
            # Keras smooths rows alone.
            labels = ops.reshape(labels, (-1,))
            return rows(ops.one_hot(labels, len(self.classes)), probabilities)

        return {"loss": smoothed, "metrics": [accuracy]}


def read_task(kind, classes, labels, whole):
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
        return Task(kind, _names(names, outputs, count, received), False)
    if rows:
        if labels.dtype.kind not in "iufb" or not np.allclose(labels.sum(axis=1), 1):
            raise InputError(f"One-hot rows must have a sum of 1. {received}")
        count = labels.shape[1]
        return Task(kind, _names(names, outputs, count, received), False)
    if labels.dtype.kind not in "iub":
        raise InputError(f"Labels must be integers, or rows. {received}")
    if names is None and outputs is None and not whole:
        raise InputError(
            f"Say by classes= how many there are, since the labels come as a stream. "
            f"{received}"
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


def number_names(labels, classes):
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


def class_counts(labels, task):
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


def balanced_weights(counts):
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
