"""What a `TracedScalar` does in the place of a float."""

import keras
import numpy as np
import pytest

from hornbook.tuning.warm.traced_scalar import (
    ConcretizationError,
    TracedScalar,
    signs,
)


def scalar(value, path="a"):
    if keras.backend.backend() == "tensorflow":
        from hornbook.tuning.warm.epochs_tensorflow import register_traced_scalar

        register_traced_scalar()
    tensor = keras.ops.convert_to_tensor(value, "float32")
    return TracedScalar(path, tensor, signs(value))


class TestTracedScalar:
    @pytest.mark.parametrize("value", [-0.5, 0.0, 0.3, 1.0, 2.5])
    def test_compares_with_0_and_1_as_its_float(self, value):
        each = scalar(value)
        for mark in (0, 1):
            assert (each < mark) == (value < mark)
            assert (each <= mark) == (value <= mark)
            assert (each == mark) == (value == mark)
            assert (each != mark) == (value != mark)
            assert (mark < each) == (mark < value)
        assert bool(each) == bool(value)

    @pytest.mark.parametrize(
        "ask",
        [
            float,
            int,
            round,
            np.asarray,
            lambda n: n < 0.5,
            lambda n: n == 2,
            lambda n: {n: 1},
            lambda n: range(n),
        ],
    )
    def test_raises_where_its_value_is_needed(self, ask):
        with pytest.raises(TypeError):
            ask(scalar(0.3))

    def test_says_whose_value_was_needed(self):
        concretized = set()
        each = TracedScalar(
            "b", keras.ops.convert_to_tensor(0.3), signs(0.3), concretized
        )
        with pytest.raises(ConcretizationError, match="`b`"):
            float(each)
        assert concretized == {"b"}

    def test_arithmetic(self):
        x = keras.ops.convert_to_tensor([1.0, 2.0])
        each = scalar(0.25)
        array = np.array([1.0, 2.0])
        for result, truth in [
            (x * each, array * 0.25),
            (each * x, array * 0.25),
            (x / (1.0 - each), array / 0.75),
            (each**2 + x, 0.0625 + array),
            (2 - each - x, 1.75 - array),
            (-each * x, -0.25 * array),
            (each + each + x, 0.5 + array),
        ]:
            np.testing.assert_allclose(keras.ops.convert_to_numpy(result), truth)

    def test_takes_the_type_of_what_it_meets(self):
        x = keras.ops.ones((2,), "float16")
        for result in (scalar(0.25) * x, (1 - scalar(0.25)) * x):
            if keras.backend.backend() != "jax":  # It is a weak tracer there.
                assert keras.backend.standardize_dtype(result.dtype) == "float16"

    def test_an_infinite_one_needs_its_value(self):
        with pytest.raises(ConcretizationError):
            _ = scalar(float("inf")) > 1
