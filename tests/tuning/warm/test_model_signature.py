"""Floats apart from all that a compiled step depends on."""

import functools

import keras
import numpy as np
import pytest

from hornbook.tuning.warm.model_signature import model_signature

FACTOR = 0.5


def build(rate=0.3, units=4, weight_decay=1e-3, momentum=0.9, bias=True):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    regularizer = keras.regularizers.L2(weight_decay)
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


class TestSignature:
    def test_floats_are_not_structure(self):
        one, other = (
            model_signature(build()),
            model_signature(build(rate=0.4, weight_decay=1e-2, momentum=0.8)),
        )
        assert one.key == other.key
        assert one.opaque is None
        names = {path.rpartition(".")[2] for path in differences(one, other)}
        assert {"rate", "l2", "momentum"} <= names

    @pytest.mark.parametrize(
        "other", [{"units": 5}, {"bias": False}, {"rate": 0.0}, {"momentum": 0.0}]
    )
    def test_shapes_flags_and_zero_are_structure(self, other):
        assert model_signature(build()).key != model_signature(build(**other)).key

    def test_shared_and_separate_objects_differ(self):
        def build(shared):
            one = keras.regularizers.L2(0.1)
            other = one if shared else keras.regularizers.L2(0.1)
            layers = [keras.layers.Dense(1, kernel_regularizer=r) for r in (one, other)]
            return keras.Sequential([keras.Input((1,)), *layers])

        assert model_signature(build(True)).key != model_signature(build(False)).key

    def test_closures_and_defaults_are_read(self):
        def make(weight):
            def loss(y, p, other=2.5):
                return weight * other * keras.ops.mean(y - p)

            return loss

        loss = make(0.1)
        one, other = model_signature(loss), model_signature(make(0.2))
        assert one.key == other.key
        [path] = differences(one, other)
        assert "weight" in path
        assert 2.5 in one.floats.values()
        one.setters[path](0.5)
        assert loss(np.array([2.0]), np.array([0.0])) == 0.5 * 2.5 * 2.0

    def test_global_that_code_reads_is_structure(self, monkeypatch):
        def loss(y, p):
            return FACTOR * (y - p)

        before = model_signature(loss).key
        monkeypatch.setitem(globals(), "FACTOR", 0.6)
        assert model_signature(loss).key != before

    def test_floats_in_a_graph_are_found(self):
        def build(factor):
            keras.utils.clear_session(free_memory=False)
            x = keras.Input((3,))
            return keras.Model(x, x * factor)

        one, other = model_signature(build(0.2)), model_signature(build(0.3))
        assert one.key == other.key
        assert differences(one, other)

    def test_wiring_is_structure(self):
        def build(first):
            keras.utils.clear_session(free_memory=False)
            a, b = keras.Input((3,)), keras.Input((3,))
            return keras.Model(
                [a, b], keras.ops.subtract(*((a, b)[:: 1 if first else -1]))
            )

        assert model_signature(build(True)).key != model_signature(build(False)).key

    def test_tuples_and_partials_are_set(self):
        class Thing:
            pass

        thing = Thing()
        thing.pair = (0.1, ("a", 0.2))
        thing.call = functools.partial(max, 0.3)
        found = model_signature(thing)
        [inner] = [path for path, value in found.floats.items() if value == 0.2]
        [outer] = [path for path, value in found.floats.items() if value == 0.1]
        found.setters[inner](0.7)
        found.setters[outer](0.6)
        assert thing.pair == (0.6, ("a", 0.7))
        assert 0.3 in {*found.floats.values(), *found.constants.values()}

    def test_what_cannot_be_compared_is_named(self):
        class Thing:
            def __init__(self):
                self.file = iter([1])

        assert model_signature(Thing()).opaque == "Thing.file"
