"""Cross-validation: which examples are in which fold."""

from dataclasses import replace

import keras
import numpy as np

from hornbook.errors import InputError
from hornbook.tuning.warm.compiled_model import NotWarm
from hornbook.tuning.warm.fit_arguments import count, read_fit


def check_folds(folds, args, groups=None, **kwargs):
    """Raises `InputError` unless the arguments of `search` can be split.

    Args:
        folds: How many there are, or None.
        args: For `fit`.
        groups: As for `split_folds`.
        **kwargs: For `fit`.
    """
    if folds is None and groups is not None:
        raise InputError("`groups` goes with `folds`. Received: folds=None")
    if folds is not None:
        try:
            split_folds(read_fit(args, kwargs), folds, 0, groups, seed=0)
        except NotWarm as error:
            raise InputError(f"`folds` needs arrays, but {error}.") from error


def split_folds(fit, folds, fold, groups, seed):
    """A `Fit` that trains on all folds but one, and validates on that one.

    Classes, where the targets have them, are spread evenly; groups stay together.

    Args:
        fit: A `Fit` without validation data.
        folds: How many there are.
        fold: Which is left out.
        groups: Array with a label for each example, or None.
        seed: Of the shuffling; the same for all trials.
    """
    from sklearn.model_selection import (
        GroupKFold,
        KFold,
        StratifiedGroupKFold,
        StratifiedKFold,
    )

    if fit.validation is not None:
        raise InputError(
            "With `folds` the validation data are the fold that is left out; give "
            "neither `validation_data` nor `validation_split`."
        )
    size = count(fit.data)
    if groups is not None and len(groups) != size:
        raise InputError(
            f"`groups` must have a label for each of the {size} examples. "
            f"Received: {len(groups)} labels"
        )
    classes = _classes(fit.data)
    kinds = {
        (False, False): KFold,
        (True, False): StratifiedKFold,
        (False, True): GroupKFold,
        (True, True): StratifiedGroupKFold,
    }
    kind = kinds[classes is not None, groups is not None]
    splitter = kind(folds, shuffle=True, random_state=seed % 2**32)
    parts = list(splitter.split(np.zeros(size), classes, groups))
    order, validation_order = parts[fold]
    return replace(
        fit, order=order, validation=fit.data, validation_order=validation_order
    )


def _classes(data):
    """The class of each example, or None where the targets are not classes."""
    y = keras.utils.unpack_x_y_sample_weight(data)[1]
    if y is None or isinstance(y, (dict, list, tuple)):
        return None
    y = keras.ops.convert_to_numpy(y)
    if y.ndim == 2 and y.shape[1] > 1 and ((y == 0) | (y == 1)).all():
        return y.argmax(axis=1) if (y.sum(axis=1) == 1).all() else None
    is_column = y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1)
    if is_column and (y == np.round(y)).all() and len(np.unique(y)) <= len(y) // 2:
        return y.reshape(-1).astype(int)
    return None
