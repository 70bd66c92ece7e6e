# SPDX-License-Identifier: Apache-2.0
"""label_shift_weights: train on one mix of classes as if it were another.

What:    estimates how frequent each class is in unlabelled test data, from a
         classifier's predictions, and weights the training examples accordingly.
When:    the frequencies of the classes shifted, and each class still looks the same: y
         causes x.
Not for: covariate shift, in which y given x is fixed; classes that training lacks.
Source:  Lipton, Wang and Smola, "Detecting and Correcting for Label Shift with Black
         Box Predictors", ICML 2018; Saerens, Latinne and Decaestecker, "Adjusting the
         Outputs of a Classifier to New a Priori Probabilities", Neural Computation
         2002.
Differs: from Lipton et al.: non-negative least squares in place of the inverse.
Needs:   scipy>=1.15.
"""

import warnings
from dataclasses import dataclass

import numpy as np

METHODS = ("confusion", "em")
FEW = 30  # predictions, below which their frequencies are a guess
ILL, SINGULAR = 10.0, 1e6  # condition numbers
STEPS, TOLERANCE = 10_000, 1e-8  # of the EM variant
NOTE = (
    "These weights use inputs of the test set before training, which may count as "
    "cheating: use them only where that is allowed, and say so beside the score."
)


@dataclass(frozen=True, eq=False)
class LabelShift:
    """What `label_shift_weights` found; `print` shows it in words.

    Attributes:
        sample_weight: float32 array `(train,)` for `fit`, of mean 1.
        class_weight: Array `(classes,)`: test_priors / train_priors.
        train_priors: Array `(classes,)`: the fraction of each class in training.
        test_priors: Array `(classes,)`: its estimated fraction in the test set.
        effective_size: `sum(w)² / sum(w²)`: how many training examples of equal weight
            these are worth.
        condition: The condition number of the confusion matrix: by about how much the
            error of the predicted fractions is multiplied at most. `None` for EM.
    """

    sample_weight: np.ndarray
    class_weight: np.ndarray
    train_priors: np.ndarray
    test_priors: np.ndarray
    effective_size: float
    condition: float | None

    def __str__(self):
        rows = [
            f"  class {k}: {p:.1%} of training, about {q:.1%} of test, weight {w:.2f}"
            for k, (p, q, w) in enumerate(
                zip(self.train_priors, self.test_priors, self.class_weight, strict=True)
            )
        ]
        return "\n".join(
            [
                f"Label shift: {len(self.sample_weight):,} training examples, worth "
                f"{self.effective_size:,.0f} of equal weight",
                *rows,
                NOTE,
            ]
        )


def label_shift_weights(
    labels: np.typing.ArrayLike,
    test_predictions: np.typing.ArrayLike,
    held_out: tuple[np.typing.ArrayLike, np.typing.ArrayLike] | None = None,
    *,
    method: str = "confusion",
) -> LabelShift:
    """Estimates p_test(y) / p_train(y) for each training example.

    - `"confusion"` (BBSE): C[i, j] is the fraction of held-out examples of class j that
      are predicted as class i, and m[i] that of test examples predicted as i; then the
      test priors q solve C q = m. Any classifier can be used whose C can be inverted.
    - `"em"`: the most likely priors, by alternately reweighting the test probabilities
      and averaging them. Often more accurate, if the probabilities are calibrated,
      which those of networks rarely are.

    Args:
        labels: Int array `(train,)`, the class ids, from 0, of the training examples
            to compute weights for.
        test_predictions: Array `(test, classes)` of probabilities, or `(test,)` of
            class ids, from a classifier that was trained on such examples.
        held_out: Tuple `(labels, predictions)` for examples from the training
            distribution that the classifier was not trained on, such as out-of-fold
            predictions. Only for `"confusion"`, which needs it. Defaults to `None`.
        method: `"confusion"` or `"em"`. Defaults to `"confusion"`.

    Returns:
        A `LabelShift`; its `sample_weight` is for `fit`.

    Raises:
        ValueError: If an array is empty, not finite or not as described, if a class
            has no training or held-out examples, and if the confusion matrix is
            singular.

    Warns:
        UserWarning: If there are fewer than 30 predictions, if the confusion matrix is
            nearly singular (a condition number above 10), and if a class seems to be
            absent from the test set.

    Example:
    >>> import keras
    >>> labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    >>> held_out = np.repeat([0, 1], 40), np.repeat([0, 1, 0, 1], [36, 4, 4, 36])
    >>> found = label_shift_weights(labels, np.repeat([0, 1], [30, 70]), held_out)
    >>> found.test_priors.round(2), found.class_weight.round(2)
    (array([0.25, 0.75]), array([0.5, 1.5]))
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, "softmax")])
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> weights, x = found.sample_weight, labels[:, None]
    >>> history = model.fit(x, labels, sample_weight=weights, verbose=0)
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be in {METHODS}. Received: method={method!r}")
    labels = _ids("labels", labels)
    test = _predictions("test_predictions", test_predictions)
    held_labels, held = np.array([], int), np.array([], int)
    if method == "em" and test.ndim == 1:
        raise ValueError(
            '`method="em"` needs probabilities `(test, classes)`. '
            f"Received: test_predictions.shape={test.shape}"
        )
    if method == "confusion":
        if held_out is None:
            raise ValueError(
                '`method="confusion"` needs `held_out=(labels, predictions)`. '
                "Received: held_out=None"
            )
        held_labels = _ids("held_out[0]", held_out[0])
        held = _predictions("held_out[1]", held_out[1])
        if len(held_labels) != len(held):
            raise ValueError(
                "`held_out` must be labels and predictions for the same examples. "
                f"Received: {len(held_labels)} labels, {len(held)} predictions"
            )
    widths = {each.shape[1] for each in (test, held) if each.ndim == 2}
    ids = [each for each in (labels, held_labels, test, held) if each.ndim == 1]
    most = max(each.max(initial=0) for each in ids) + 1
    classes = max(widths, default=most)
    if len(widths) > 1 or most > classes:
        raise ValueError(
            "Labels and predictions must have the same classes. "
            f"Received: ids up to {most - 1}, {sorted(widths)} columns"
        )
    train_priors = _shares("training", labels, classes)
    condition = None
    if method == "em":
        test_priors = _maximise(test, train_priors)
    else:
        test_priors, condition = _invert(held_labels, held, test, classes)
    if absent := np.flatnonzero(test_priors < 0.5 / len(test)).tolist():
        text = f"Classes {absent} seem absent from the test set: their weights are 0."
        warnings.warn(text, stacklevel=2)
    class_weight = test_priors / train_priors
    weights = class_weight[labels]
    return LabelShift(
        weights.astype("float32"),
        class_weight,
        train_priors,
        test_priors,
        float(weights.sum() ** 2 / np.sum(weights**2)),
        condition,
    )


def _ids(name, array):
    array = np.asarray(array)
    if (
        array.ndim != 1
        or array.dtype.kind not in "iu"
        or not len(array)
        or array.min() < 0
    ):
        raise ValueError(
            f"`{name}` must be class ids `(examples,)` from 0, of at least one. "
            f"Received: {name} of {array.dtype} {array.shape}"
        )
    return array


def _predictions(name, array):
    """Class ids `(examples,)` or probabilities `(examples, classes)`."""
    array = np.asarray(array)
    if array.ndim != 2:
        array = _ids(name, array)
    # Comparisons with NaN are false.
    elif not array.size or not (
        array.min() >= 0 and np.abs(array.sum(axis=1) - 1).max() < 1e-2
    ):
        raise ValueError(
            f"`{name}` must be probabilities, whose rows sum to 1, of at least one "
            f"example. Received: {name} of {array.dtype} {array.shape}, {array!r:.80}"
        )
    if len(array) < FEW:
        _warn(f"`{name}` has only {len(array)} examples: the priors are a guess.")
    return array


def _shares(what, labels, classes):
    counts = np.bincount(labels, minlength=classes)
    if not counts.all():
        raise ValueError(
            f"Every class needs {what} examples. Received: none for the classes "
            f"{np.flatnonzero(counts == 0).tolist()}"
        )
    return counts / len(labels)


def _invert(labels, held, test, classes):
    """The priors q of C q = m, and the condition number of C."""
    from scipy.optimize import nnls

    _shares("held-out", labels, classes)
    guesses, test = (
        each.argmax(axis=1) if each.ndim == 2 else each for each in (held, test)
    )
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (guesses, labels), 1)
    confusion /= confusion.sum(axis=0)
    condition = float(np.linalg.cond(confusion))
    if condition > SINGULAR:
        never = np.flatnonzero(confusion.sum(axis=1) == 0).tolist()
        why = f"classes {never} are never predicted" if never else "it confuses classes"
        raise ValueError(
            "The confusion matrix is singular, so the predictions do not determine how "
            "frequent the classes are: use a better classifier or merge classes. "
            f"Received: {why}"
        )
    if condition > ILL:
        _warn(
            "The confusion matrix is nearly singular: errors of the predicted "
            f"frequencies grow up to {condition:.0f} times in the estimate."
        )
    shares = np.bincount(test, minlength=classes) / len(test)
    priors = nnls(confusion, shares)[0]
    return priors / priors.sum(), condition


def _maximise(probabilities, train_priors):
    """The priors under which the test's probabilities are most likely."""
    priors = train_priors
    for _ in range(STEPS):
        joint = probabilities * (priors / train_priors)
        new = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
        moved = np.abs(new - priors).max()
        priors = new
        if moved < TOLERANCE:
            break
    return priors


def _warn(text):
    warnings.warn(text, stacklevel=4)
