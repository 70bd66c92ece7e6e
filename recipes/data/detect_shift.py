# SPDX-License-Identifier: Apache-2.0
"""detect_shift: whether training and test set have one distribution, and what differs.

What:    a classifier tries to tell training from test examples; a permutation test
         says whether it does better than chance; features and classes that differ are
         named.
When:    before trusting a validation score, and before any reweighting.
Not for: concept shift, a change of p(y given x), which no test on inputs can detect.
Source:  Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017;
         Lipton, Wang and Smola, "Detecting and Correcting for Label Shift with Black
         Box Predictors", ICML 2018; Rabanser, Günnemann and Lipton, "Failing Loudly",
         NeurIPS 2019.
Differs: the statistic is the cross-validated area under the ROC curve, not accuracy,
         since the two sets may differ in size; each permutation is trained separately.
Needs:   scipy>=1.15, sklearn>=1.7 (scikit-learn).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

FOLDS = 5
FEW = 30  # examples, below which only a large shift can be found
RESAMPLES = 9999  # of the class mix, which cost next to nothing
CONCEPT = (
    "Concept shift, a change of p(y given x), cannot be seen from inputs. To check "
    "for it, label some test examples (50 or more, at random), compare the model's "
    "error on them and on held-out training examples, and ask how labels were made."
)
KIND = (
    "The data alone cannot tell covariate from label shift. If y causes x (a digit and "
    "its picture), consider `label_shift_weights`; if x causes y, consider "
    "`covariate_shift_weights`."
)


class _Feature(NamedTuple):
    """How one feature differs; `effect` and `spread` are of test against training."""

    name: str
    effect: float
    spread: float
    ks: float
    p_value: float


class _Share(NamedTuple):
    """The fraction of the predictions that a class has."""

    name: str
    train: float
    test: float
    p_value: float


@dataclass(frozen=True, eq=False)
class ShiftReport:
    """What `detect_shift` found; `print` shows it in words.

    Attributes:
        counts: How many training and test examples were compared.
        alpha: The level of each of the two tests.
        auc: The probability that, of a random pair, the test example gets the higher
            score, out of fold: 0.5 if the classifier learned nothing.
        p_value: Of `auc`, by permutation; at least `1 / (n_permutations + 1)`.
        features: The features, those that differ most first. Each has a `name`, an
            `effect` (difference of the means in pooled standard deviations, above 0
            if the test set's is higher), a `spread` (ratio of the standard deviations,
            test to training), `ks` (Kolmogorov-Smirnov distance, 0 to 1) and its
            `p_value`, times the number of features.
        direction: Unit vector `(features,)` from training to test, in standard
            deviations of each feature; `None` for boosted trees.
        train_scores: Array `(train,)` of log odds that a training example is from the
            test set, out of fold.
        test_scores: The same for the test examples.
        class_p_value: Of the proportions of predicted classes; `None` without
            predictions.
        classes: For each class its `name`, its fraction of the predictions in `train`
            and in `test`, and the `p_value` of their difference, times the number of
            classes.
    """

    counts: tuple
    alpha: float
    auc: float
    p_value: float
    features: tuple
    direction: np.ndarray | None
    train_scores: np.ndarray
    test_scores: np.ndarray
    class_p_value: float | None = None
    classes: tuple = ()

    @property
    def inputs_shifted(self) -> bool:
        """Whether the inputs can be told apart better than by chance."""
        return self.p_value <= self.alpha

    @property
    def classes_shifted(self) -> bool:
        """Whether the proportions of predicted classes differ more than by chance."""
        return self.class_p_value is not None and self.class_p_value <= self.alpha

    @property
    def moved_features(self) -> tuple[_Feature, ...]:
        """The features that differ on their own."""
        return tuple(each for each in self.features if each.p_value <= self.alpha)

    @property
    def moved_classes(self) -> tuple[_Share, ...]:
        """The classes whose fraction differs on its own, the largest change first."""
        moved = [each for each in self.classes if each.p_value <= self.alpha]
        return tuple(sorted(moved, key=lambda each: -abs(each.test - each.train)))

    def __str__(self):
        verdicts = "no shift found", "a shift"
        lines = [
            f"Inputs: {verdicts[self.inputs_shifted]} (AUC {self.auc:.2f}, "
            f"p = {self.p_value:.2g}), "
            "{:,} training and {:,} test examples".format(*self.counts)
        ]
        if self.inputs_shifted:
            lines += [
                f"  {each.name}: mean {each.effect:+.2f} sd, spread × {each.spread:.2f}"
                f" (KS {each.ks:.2f})"
                for each in self.moved_features[:5]
            ] or ["  no single feature: see `direction` and the scores"]
        if self.class_p_value is not None:
            found = verdicts[self.classes_shifted]
            lines.append(f"Class mix: {found} (p = {self.class_p_value:.2g})")
        if self.classes_shifted:
            lines += [
                f"  {each.name}: {each.train:.1%} of training, {each.test:.1%} of test"
                for each in self.moved_classes[:5]
            ]
        if self.inputs_shifted or self.classes_shifted:
            lines.append(KIND)
        return "\n".join([*lines, CONCEPT])


def detect_shift(
    train: np.typing.ArrayLike,
    test: np.typing.ArrayLike,
    *,
    feature_names: Sequence[str] | None = None,
    train_predictions: np.typing.ArrayLike | None = None,
    test_predictions: np.typing.ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    classifier: str = "logistic",
    n_permutations: int = 100,
    alpha: float = 0.05,
    seed: int = 0,
) -> ShiftReport:
    """Compares the inputs of two sets, and the classes predicted for them.

    The classifier is trained and tested by 5-fold cross-validation, once as it is and
    `n_permutations` times with the two sets shuffled into each other, so the p-value
    holds for any data whose examples are independent. This takes most of the time:
    1,000 examples of 128 features take a few seconds, with boosted trees a minute.

    Args:
        train: Array `(train, ...)` of features, pixels or embeddings.
        test: Array `(test, ...)` of the same. Its labels are not needed.
        feature_names: Names of the features. Defaults to the index, such as `x[3, 4]`.
        train_predictions: A model's predictions for training examples that it was not
            trained on: probabilities `(examples, classes)` or class ids `(examples,)`.
            Defaults to `None`.
        test_predictions: The same model's predictions for the test examples. Defaults
            to `None`.
        class_names: Names of the classes. Defaults to their ids.
        classifier: `"logistic"`, the default, which finds shifts of means, or
            `"boosting"` (small trees), which finds any shift and needs more examples.
        n_permutations: Int, how often to shuffle. Defaults to 100.
        alpha: Float, the significance level of each of the two tests. Defaults to 0.05.
        seed: Int, the seed of the folds and the permutations. Defaults to 0.

    Returns:
        A `ShiftReport`.

    Raises:
        ValueError: If the arrays are empty, not numbers, not finite, do not fit each
            other or are constant, and if an argument is out of range.

    Warns:
        UserWarning: For constant features, and where a set has under 30 examples.

    Example:
    >>> rng = np.random.default_rng(0)
    >>> train, test = rng.normal(size=(200, 3)), rng.normal(size=(300, 3))
    >>> test[:, 1] += 1
    >>> report = detect_shift(train, test, feature_names=["a", "b", "c"])
    >>> report.inputs_shifted, [each.name for each in report.moved_features]
    (True, ['b'])
    >>> print(str(report).split(" (")[0])
    Inputs: a shift
    """
    from sklearn.model_selection import StratifiedKFold

    if not 0 < alpha < 1 or n_permutations < 1 / alpha - 1:
        raise ValueError(
            "`alpha` must be between 0 and 1, and `n_permutations` so large that "
            "1 / (n_permutations + 1) is not above it. "
            f"Received: alpha={alpha}, n_permutations={n_permutations}"
        )
    model = _classifier(classifier)
    x, names = _both(train, test, feature_names)
    is_test = np.repeat([False, True], [len(train), len(test)])
    told = _class_mix(train_predictions, test_predictions, class_names, seed)

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    auc, scores = _tell_apart(model, x, is_test, folds)
    rng = np.random.default_rng(seed)
    shuffled = (rng.permutation(is_test) for _ in range(n_permutations))
    as_good = sum(_tell_apart(model, x, each, folds)[0] >= auc for each in shuffled)
    direction = None
    if classifier == "logistic":
        slope = model.fit(x, is_test).coef_[0]
        direction = slope / (np.linalg.norm(slope) or 1)
    return ShiftReport(
        counts=(len(train), len(test)),
        alpha=alpha,
        auc=float(auc),
        p_value=float((1 + as_good) / (1 + n_permutations)),
        features=_features(x[~is_test], x[is_test], names),
        direction=direction,
        train_scores=scores[~is_test],
        test_scores=scores[is_test],
        **told,
    )


def _classifier(name):
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    if name == "logistic":
        return LogisticRegression(max_iter=1000)
    if name == "boosting":
        return HistGradientBoostingClassifier(
            max_iter=30, max_depth=3, early_stopping=False, random_state=0
        )
    raise ValueError(
        f'`classifier` must be "logistic" or "boosting". Received: classifier={name!r}'
    )


def _both(train, test, names):
    """Both sets as one matrix of standardised features, and the features' names."""
    arrays = {"train": train, "test": test}
    for name, array in arrays.items():
        arrays[name] = array = np.asarray(array, "float64")
        if array.ndim < 2 or len(array) < FOLDS or array[0].size == 0:
            raise ValueError(
                f"`{name}` must be an array `(examples, ...)` of {FOLDS} examples or "
                f"more. Received: {name}.shape={array.shape}"
            )
        if bad := np.sum(~np.isfinite(array).reshape(len(array), -1).all(axis=1)):
            raise ValueError(
                f"`{name}` must be finite: fill in or leave out what is missing. "
                f"Received: NaN or infinity in {bad} of {len(array)} examples"
            )
        if len(array) < FEW:
            _warn(f"`{name}` has only {len(array)} examples: a small shift is missed.")
    shape = arrays["train"].shape[1:]
    if arrays["test"].shape[1:] != shape:
        raise ValueError(
            "`train` and `test` must have the same features. Received: "
            f"train.shape={np.shape(train)}, test.shape={np.shape(test)}"
        )
    x = np.concatenate(list(arrays.values())).reshape(len(train) + len(test), -1)
    indices = (f"x{list(map(int, index))}" for index in np.ndindex(shape))
    names = list(map(str, indices if names is None else names))
    if len(names) != x.shape[1]:
        raise ValueError(
            f"`feature_names` must have one for each of {x.shape[1]} features. "
            f"Received: {len(names)} names"
        )
    # Not by the deviation, which is not exactly 0 for a constant such as 0.1.
    constant = x.min(axis=0) == x.max(axis=0)
    if constant.all():
        raise ValueError(
            "All features are constant: there is nothing to compare. Received: "
            f"train.shape={np.shape(train)}, test.shape={np.shape(test)}"
        )
    if count := constant.sum():
        first = names[constant.argmax()]
        _warn(f"{count} of {len(names)} features are constant, such as {first}.")
    x = x - x.mean(axis=0)
    return x / np.where(constant, np.inf, x.std(axis=0)), names


def _warn(text):
    warnings.warn(text, stacklevel=4)


def _tell_apart(model, x, is_test, folds):
    """The mean area under the folds' ROC curves, and each example's log odds."""
    from sklearn.metrics import roc_auc_score

    scores, areas = np.empty(len(x)), []
    for seen, held_out in folds.split(x, is_test):
        model.fit(x[seen], is_test[seen])
        scores[held_out] = model.decision_function(x[held_out])
        areas.append(roc_auc_score(is_test[held_out], scores[held_out]))
    return np.mean(areas), scores


def _features(train, test, names):
    from scipy.stats import ks_2samp

    gap = test.mean(axis=0) - train.mean(axis=0)
    deviations = [
        np.where(x.min(axis=0) == x.max(axis=0), 0, x.std(axis=0))
        for x in (train, test)
    ]
    sizes = len(train), len(test)
    pooled = np.sqrt(np.average(np.square(deviations), axis=0, weights=sizes))
    with np.errstate(divide="ignore", invalid="ignore"):  # infinite where they must be
        effect = np.nan_to_num(gap / pooled, nan=0.0, posinf=np.inf, neginf=-np.inf)
        spread = np.nan_to_num(deviations[1] / deviations[0], nan=1.0, posinf=np.inf)
    ks, p = ks_2samp(train, test, axis=0, method="asymp")
    p = np.minimum(1, p * len(names))
    rows = zip(names, *map(np.ndarray.tolist, (effect, spread, ks, p)), strict=True)
    return tuple(sorted(map(_Feature._make, rows), key=lambda each: -each.ks))


def _class_mix(train, test, names, seed):
    """The fields of the report about the predicted classes."""
    if train is None and test is None:
        return {}
    ids, widths = [], set()
    for name, array in (("train_predictions", train), ("test_predictions", test)):
        array = np.asarray(array)
        if array.ndim == 2 and len(array) and np.isfinite(array).all():
            widths.add(array.shape[1])
            array = array.argmax(axis=1)
        if array.ndim != 1 or array.dtype.kind not in "iu" or not len(array):
            raise ValueError(
                f"`{name}` must be class ids `(examples,)` or finite probabilities "
                "`(examples, classes)`, and both sets must have some. Received: "
                f"{name} of {array.dtype} {array.shape}"
            )
        ids.append(array)
    count = max(len(names or ()), 1 + max(map(max, ids)), *widths)
    names = list(range(count)) if names is None else names
    if len(widths) > 1 or min(map(min, ids)) < 0 or len(names) != count:
        raise ValueError(
            "Both predictions must be of the same classes, which `class_names` names. "
            f"Received: ids from {min(map(min, ids))} to {max(map(max, ids))}, "
            f"{sorted(widths)} columns, {len(names)} names"
        )
    table = np.array([np.bincount(each, minlength=count) for each in ids])
    p, each_p = _same_mix(table, np.random.default_rng(seed))
    shares = table / table.sum(axis=1, keepdims=True)
    rows = zip(map(str, names), *shares.tolist(), each_p.tolist(), strict=True)
    return {"class_p_value": p, "classes": tuple(map(_Share._make, rows))}


def _same_mix(table, rng):
    """Chi-square's p-value of a table `(2, classes)`, and those of its columns.

    The margins are kept and the table is drawn at random, which is the same as to
    permute the examples: exact even if counts are small.
    """
    from scipy.stats import norm

    sizes, total = table.sum(axis=1), table.sum(axis=0)
    share = total / sizes.sum()
    expected = sizes[0] * share
    variance = np.where(total > 0, expected * sizes[1] / sizes.sum(), np.inf)
    drawn = rng.multivariate_hypergeometric(
        total, sizes[0], size=RESAMPLES, method="marginals"
    )
    observed, by_luck = (
        ((each - expected) ** 2 / variance).sum(axis=-1) for each in (table[0], drawn)
    )
    p = (1 + np.sum(by_luck >= observed * (1 - 1e-12))) / (1 + RESAMPLES)
    z = np.abs(table[0] - expected) / np.sqrt(variance * np.maximum(1 - share, 1e-9))
    return float(p), np.minimum(1, 2 * norm.sf(z) * len(total))
