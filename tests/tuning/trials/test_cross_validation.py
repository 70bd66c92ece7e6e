"""Which examples are in which fold."""

import numpy as np
import pytest

from hornbook.errors import InputError
from hornbook.tuning.trials.cross_validation import check_folds, split_folds
from hornbook.tuning.warm.fit_arguments import parse_fit_arguments

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")


def test_folds_are_stratified_and_keep_groups():
    fit = parse_fit_arguments((X, Y), {})
    groups = np.arange(40) // 4
    seen = []
    for fold in range(5):
        part = split_folds(fit, 5, fold, None, seed=0)
        assert abs(Y[part.validation_indices].mean() - Y.mean()) < 0.1
        part = split_folds(fit, 5, fold, groups, seed=0)
        assert not set(groups[part.train_indices]) & set(
            groups[part.validation_indices]
        )
        seen.extend(part.validation_indices)
    assert sorted(seen) == list(range(40))


@pytest.mark.parametrize(
    ("folds", "args", "groups", "message"),
    [
        (None, (X, Y), Y, "`groups` needs `folds`"),
        (3, (X.tolist(), Y), None, "`folds` needs arrays"),
        (3, (X, Y), Y[:5], "Received: 5 labels"),
    ],
)
def test_what_cannot_be_split(folds, args, groups, message):
    with pytest.raises(InputError, match=message):
        check_folds(folds, args, {}, groups)
