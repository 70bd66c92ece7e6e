"""Cross-validation: which examples are in which fold."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from hornbook.errors import InputError
from hornbook.tuning.warm.fit_arguments import (
    FitArguments,
    count_examples,
    parse_fit_arguments,
)
from hornbook.tuning.warm.plain_fit import NeedsPlainFit


def check_folds(
    folds: int | None,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    groups: Any = None,
) -> None:
    """Checks that the arguments of `search` can be split into folds.

    Args:
        folds: Integer, the number of folds, or `None`.
        args: Positional arguments of `fit`.
        kwargs: Dict of keyword arguments of `fit`.
        groups: As for `split_folds`.

    Raises:
        InputError: If they cannot be split.
    """
    if folds is None and groups is not None:
        raise InputError("`groups` needs `folds`. Received: folds=None")
    if folds is not None:
        try:
            arguments = parse_fit_arguments(args, kwargs)
            split_folds(arguments, folds, 0, groups, seed=0)
        except NeedsPlainFit as error:
            raise InputError(
                f"`folds` needs arrays, but {error}. Received: folds={folds}"
            ) from error


def split_folds(
    arguments: FitArguments, folds: int, fold: int, groups: Any, seed: int
) -> FitArguments:
    """Returns arguments that train on all folds but one, and validate on that one.

    If the targets are classes, each fold has about the same share of every class. All
    examples of a group are in the same fold.

    Args:
        arguments: Parsed arguments of `fit` without validation data.
        folds: Integer, the number of folds.
        fold: Integer, the fold that is left out.
        groups: Array with a label for each example, or `None`.
        seed: Integer, the seed of the shuffling, the same for all trials.

    Raises:
        InputError: If there are validation data, or `groups` has another length than
            the data.
    """
    from sklearn.model_selection import (
        GroupKFold,
        KFold,
        StratifiedGroupKFold,
        StratifiedKFold,
    )

    if arguments.validation_data is not None:
        raise InputError(
            "With `folds` the validation data are the fold that is left out, so give "
            "neither `validation_data` nor `validation_split`. "
            f"Received: folds={folds}"
        )
    size = count_examples(arguments.data)
    if groups is not None and len(groups) != size:
        raise InputError(
            f"`groups` must have a label for each of the {size} examples. "
            f"Received: {len(groups)} labels"
        )
    classes = _classes(arguments.data)
    splitters = {
        (False, False): KFold,
        (True, False): StratifiedKFold,
        (False, True): GroupKFold,
        (True, True): StratifiedGroupKFold,
    }
    splitter_class = splitters[classes is not None, groups is not None]
    splitter = splitter_class(folds, shuffle=True, random_state=seed % 2**32)
    parts = list(splitter.split(np.zeros(size), classes, groups))
    train_indices, validation_indices = parts[fold]
    return replace(
        arguments,
        train_indices=train_indices,
        validation_data=arguments.data,
        validation_indices=validation_indices,
    )


def _classes(data: Any) -> np.ndarray | None:
    """The class of each example, or `None` if the targets are not classes."""
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
