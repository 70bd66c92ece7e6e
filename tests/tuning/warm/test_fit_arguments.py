"""Parsed arguments of `fit`: what they are for the same call of Keras."""

import numpy as np
import pytest

from hornbook.tuning.warm.fit_arguments import count_examples, parse_fit_arguments
from hornbook.tuning.warm.plain_fit import NeedsPlainFit

X = np.random.default_rng(0).normal(size=(70, 6)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


def test_class_weight_and_split_are_those_of_fit():
    arguments = parse_fit_arguments(
        (X, Y), {"validation_split": 0.3, "class_weight": {1: 3.0}}
    )
    _, _, weight = arguments.data
    np.testing.assert_array_equal(weight, np.where(Y[:, 0] == 1, 3.0, 1.0))
    assert len(arguments.train_indices) == 49
    np.testing.assert_array_equal(arguments.validation_indices, np.arange(49, 70))


def test_defaults_and_batches():
    arguments = parse_fit_arguments((X, Y), {"epochs": 4})
    assert (arguments.batch_size, arguments.others["epochs"]) == (32, 4)
    assert arguments.validation_data is None
    x, y = arguments.first_batch
    np.testing.assert_array_equal(x, X[:32])
    np.testing.assert_array_equal(y, Y[:32])
    assert count_examples(arguments.data) == 70


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"steps_per_epoch": 3}, "steps_per_epoch"),
        ({"validation_split": 0.999}, "leaves one part empty"),
        ({"class_weight": {0: 2.0}, "sample_weight": Y[:, 0]}, "class_weight"),
        (
            {"validation_data": (X[:3], Y[:2])},
            r"different numbers of examples, \[2, 3\]",
        ),
    ],
)
def test_what_epochs_cannot_be_run_with(kwargs, reason):
    with pytest.raises(NeedsPlainFit, match=reason):
        parse_fit_arguments((X, Y), kwargs)
