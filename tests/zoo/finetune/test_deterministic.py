import numpy as np
import pytest
from tiny import build, patterns

from hornbook.compat import set_op_determinism
from hornbook.zoo import fine_tune
from hornbook.zoo.finetune.deterministic import deterministic_ops


@pytest.mark.parametrize("before", [False, True])
def test_they_are_on_within_and_then_as_they_were(before):
    from tensorflow.python.framework import config

    found = set_op_determinism(before)
    try:
        with deterministic_ops():
            assert config.is_op_determinism_enabled()
        assert config.is_op_determinism_enabled() == before
        with pytest.raises(KeyError), deterministic_ops():
            raise KeyError
        assert config.is_op_determinism_enabled() == before
    finally:
        set_op_determinism(found)


def test_same_seed_same_bits_other_seed_other_bits():
    options = {"epochs": 2, "steps_per_epoch": 4}
    first, again, other = (
        fine_tune(build(), patterns(), seed=seed, **options).model.get_weights()
        for seed in (3, 3, 4)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[-1], other[-1])
