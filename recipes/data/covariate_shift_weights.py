# SPDX-License-Identifier: Apache-2.0
"""covariate_shift_weights: train on one set as if its inputs came from another.

What:    weights each training example by how much more likely it is in the test set.
When:    the inputs shifted, y given x did not, and there are training examples wherever
         there are test examples.
Not for: label shift (`label_shift_weights`); test inputs unlike any training example,
         which no weight can replace; large models that fit every example anyway.
Source:  Bickel, Brückner and Scheffer, "Discriminative Learning Under Covariate
         Shift", JMLR 2009; Zhang et al., "Dive into Deep Learning", section 4.7.
Differs: the logits are of examples that the logistic regression was not fitted to, and
         cross-validation chooses its penalty: otherwise, with many features, it
         memorises the two sets and the weights are noise.
Needs:   sklearn>=1.7 (scikit-learn).
"""

import warnings
from dataclasses import dataclass

import numpy as np

FOLDS = 5
FEW = 30  # examples from which a density ratio is a guess
SMALL = 0.1  # effective size, as a share of the training examples
PENALTIES = {"C": [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0]}
NOTE = (
    "These weights use inputs of the test set before training, which may count as "
    "cheating: use them only where that is allowed, and say so beside the score."
)


@dataclass(frozen=True, eq=False)
class CovariateShift:
    """What `covariate_shift_weights` found; `print` shows it in words.

    Attributes:
        sample_weight: float32 array `(train,)` for `fit`: the ratio divided by its
            mean, then clipped.
        ratio: float64 array `(train,)`: the estimated p_test(x) / p_train(x). Its mean
            is near 1 if the estimate is good.
        effective_size: `sum(w)² / sum(w²)`: how many training examples of equal weight
            these are worth.
        clipped: How many weights were clipped.
    """

    sample_weight: np.ndarray
    ratio: np.ndarray
    effective_size: float
    clipped: int

    def __str__(self):
        w = self.sample_weight
        return (
            f"Covariate shift: {len(w):,} training examples, worth "
            f"{self.effective_size:,.0f} of equal weight; weights {w.min():.2g} to "
            f"{w.max():.2g}, {self.clipped} clipped.\n{NOTE}"
        )


def covariate_shift_weights(
    train: np.typing.ArrayLike,
    test: np.typing.ArrayLike,
    *,
    clip: float | None = 10.0,
    seed: int = 0,
) -> CovariateShift:
    """Estimates p_test(x) / p_train(x) for each training example.

    A logistic regression h tells training (0) from test inputs (1). Its logits give
    the ratio `(n_train / n_test) * exp(h(x))`, which is exact if the log of the ratio
    is linear in the features. The weights are the ratio divided by its mean, then
    clipped, so that their mean is 1, or a little less.

    Weighted training is unbiased but noisier: see `effective_size`. It helps models
    that are too simple to be right everywhere.

    Args:
        train: Array `(train, ...)` of features, or of a backbone's embeddings.
        test: Array `(test, ...)` of the same. Its labels are not needed.
        clip: Float above 1, the largest weight, or `None` for no limit. Defaults to 10.
        seed: Int, the seed of the folds. Defaults to 0.

    Returns:
        A `CovariateShift`; its `sample_weight` is for `fit`.

    Raises:
        ValueError: If the arrays are empty, not numbers, not finite, do not fit each
            other or are constant, and if `clip` is not above 1.

    Warns:
        UserWarning: If a set has fewer than 30 examples, if the effective size is
            below a tenth of the training examples, and for features that are constant
            in one set.

    Example:
    >>> import keras
    >>> rng = np.random.default_rng(0)
    >>> train, test = rng.normal(size=(300, 2)), rng.normal(0.5, size=(200, 2))
    >>> found = covariate_shift_weights(train, test)
    >>> found.sample_weight[train.sum(axis=1) > 1].mean() > 1
    np.True_
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> y = train[:, :1] ** 2
    >>> history = model.fit(train, y, sample_weight=found.sample_weight, verbose=0)
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import (
        GridSearchCV,
        StratifiedKFold,
        cross_val_predict,
    )
    from sklearn.preprocessing import StandardScaler

    if clip is not None and not clip > 1:
        raise ValueError(f"`clip` must be above 1 or None. Received: clip={clip}")
    train, test = _check(train, test)
    x = StandardScaler().fit_transform(np.concatenate([train, test]))
    is_test = np.repeat([0, 1], [len(train), len(test)])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    model = LogisticRegression(max_iter=1000)
    search = GridSearchCV(model, PENALTIES, scoring="neg_log_loss", cv=folds)
    model = search.fit(x, is_test).best_estimator_
    logits = cross_val_predict(model, x, is_test, cv=folds, method="decision_function")

    ratio = len(train) / len(test) * np.exp(logits[: len(train)])
    weights = ratio / ratio.mean()
    clipped = 0 if clip is None else np.sum(weights > clip)
    weights = np.minimum(weights, clip or np.inf)
    effective_size = weights.sum() ** 2 / np.sum(weights**2)
    if effective_size < SMALL * len(train):
        warnings.warn(
            f"The {len(train)} weighted training examples are worth only "
            f"{effective_size:.0f}: the sets hardly overlap, training will be noisy.",
            stacklevel=2,
        )
    return CovariateShift(
        weights.astype("float32"), ratio, float(effective_size), int(clipped)
    )


def _check(train, test):
    """Both sets as matrices of finite numbers."""
    arrays = {
        "train": np.asarray(train, "float64"),
        "test": np.asarray(test, "float64"),
    }
    for name, array in arrays.items():
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
            _warn(f"`{name}` has only {len(array)} examples: the weights are a guess.")
    if arrays["train"].shape[1:] != arrays["test"].shape[1:]:
        raise ValueError(
            "`train` and `test` must have the same features. Received: "
            f"train.shape={np.shape(train)}, test.shape={np.shape(test)}"
        )
    train, test = (array.reshape(len(array), -1) for array in arrays.values())
    fixed = [array.min(axis=0) == array.max(axis=0) for array in (train, test)]
    if np.all(fixed):
        raise ValueError(
            "All features are constant, so weights cannot be estimated. Received: "
            f"train.shape={train.shape}, test.shape={test.shape}"
        )
    same = fixed[0] & fixed[1] & (train[0] == test[0])
    if same.any():
        _warn(f"{same.sum()} of {len(same)} features are constant: they do not count.")
    if missing := np.sum(fixed[0] & ~same):
        _warn(
            f"{missing} of {len(same)} features are constant in `train` but not in "
            "`test`: no weights can replace what is not in the training set."
        )
    return train, test


def _warn(text):
    warnings.warn(text, stacklevel=4)
