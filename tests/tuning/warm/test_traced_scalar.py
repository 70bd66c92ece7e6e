"""Floats apart from structure, and what a `Number` does in a float's place."""

import functools

import keras
import numpy as np
import pytest

from hornbook.tuning.warm.epochs import _teach_tensorflow
from hornbook.tuning.warm.traced_scalar import Number, Refused, read, region

FACTOR = 0.5


def build(rate=0.3, units=4, decay=1e-3, momentum=0.9, bias=True):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    regularizer = keras.regularizers.L2(decay)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(units, kernel_regularizer=regularizer, use_bias=bias),
            keras.layers.Dropout(rate),
            keras.layers.Dense(1, kernel_regularizer=regularizer),
        ]
    )
    model.compile(keras.optimizers.SGD(1e-2, momentum=momentum), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def differences(one, other):
    return {path for path in one.floats if one.floats[path] != other.floats[path]}


class TestRead:
    def test_floats_are_not_structure(self):
        one, other = read(build()), read(build(rate=0.4, decay=1e-2, momentum=0.8))
        assert one.key == other.key
        assert one.opaque is None
        names = {path.rpartition(".")[2] for path in differences(one, other)}
        assert {"rate", "l2", "momentum"} <= names

    @pytest.mark.parametrize(
        "other", [{"units": 5}, {"bias": False}, {"rate": 0.0}, {"momentum": 0.0}]
    )
    def test_shapes_flags_and_zero_are_structure(self, other):
        assert read(build()).key != read(build(**other)).key

    def test_shared_and_separate_objects_differ(self):
        def build(shared):
            one = keras.regularizers.L2(0.1)
            other = one if shared else keras.regularizers.L2(0.1)
            layers = [keras.layers.Dense(1, kernel_regularizer=r) for r in (one, other)]
            return keras.Sequential([keras.Input((1,)), *layers])

        assert read(build(True)).key != read(build(False)).key

    def test_closures_and_defaults_are_read(self):
        def make(weight):
            def loss(y, p, other=2.5):
                return weight * other * keras.ops.mean(y - p)

            return loss

        loss = make(0.1)
        one, other = read(loss), read(make(0.2))
        assert one.key == other.key
        [path] = differences(one, other)
        assert "weight" in path
        assert 2.5 in one.floats.values()
        one.put[path](0.5)
        assert loss(np.array([2.0]), np.array([0.0])) == 0.5 * 2.5 * 2.0

    def test_global_that_code_reads_is_structure(self, monkeypatch):
        def loss(y, p):
            return FACTOR * (y - p)

        before = read(loss).key
        monkeypatch.setitem(globals(), "FACTOR", 0.6)
        assert read(loss).key != before

    def test_floats_in_a_graph_are_found(self):
        def build(factor):
            keras.utils.clear_session(free_memory=False)
            x = keras.Input((3,))
            return keras.Model(x, x * factor)

        one, other = read(build(0.2)), read(build(0.3))
        assert one.key == other.key
        assert differences(one, other)

    def test_wiring_is_structure(self):
        def build(first):
            keras.utils.clear_session(free_memory=False)
            a, b = keras.Input((3,)), keras.Input((3,))
            return keras.Model(
                [a, b], keras.ops.subtract(*((a, b)[:: 1 if first else -1]))
            )

        assert read(build(True)).key != read(build(False)).key

    def test_tuples_and_partials_are_set(self):
        class Thing:
            pass

        thing = Thing()
        thing.pair = (0.1, ("a", 0.2))
        thing.call = functools.partial(max, 0.3)
        found = read(thing)
        [inner] = [path for path, value in found.floats.items() if value == 0.2]
        [outer] = [path for path, value in found.floats.items() if value == 0.1]
        found.put[inner](0.7)
        found.put[outer](0.6)
        assert thing.pair == (0.6, ("a", 0.7))
        assert 0.3 in {*found.floats.values(), *found.constants.values()}

    def test_what_cannot_be_compared_is_named(self):
        class Thing:
            def __init__(self):
                self.file = iter([1])

        assert read(Thing()).opaque == "Thing.file"


def number(value, path="a"):
    _ = _teach_tensorflow() if keras.backend.backend() == "tensorflow" else None
    tensor = keras.ops.convert_to_tensor(value, "float32")
    return Number(path, tensor, region(value))


class TestNumber:
    @pytest.mark.parametrize("value", [-0.5, 0.0, 0.3, 1.0, 2.5])
    def test_compares_with_0_and_1_as_its_float(self, value):
        each = number(value)
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
    def test_refuses_what_needs_its_value(self, ask):
        with pytest.raises(TypeError):
            ask(number(0.3))

    def test_says_who_refused(self):
        refused = set()
        each = Number("b", keras.ops.convert_to_tensor(0.3), region(0.3), refused)
        with pytest.raises(Refused, match="`b`"):
            float(each)
        assert refused == {"b"}

    def test_arithmetic(self):
        x = keras.ops.convert_to_tensor([1.0, 2.0])
        each = number(0.25)
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
        for result in (number(0.25) * x, (1 - number(0.25)) * x):
            if keras.backend.backend() != "jax":  # It is a weak tracer there.
                assert keras.backend.standardize_dtype(result.dtype) == "float16"
