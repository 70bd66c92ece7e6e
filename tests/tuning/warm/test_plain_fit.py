"""What cannot be warm is trained by plain `fit`, and the user is told once."""

import keras
import keras_tuner
import numpy as np
import pytest

from hornbook.tuning.trials.runner import Runner
from hornbook.tuning.warm.fit_arguments import parse_fit_arguments
from hornbook.tuning.warm.plain_fit import NeedsPlainFit, check_model

X = np.random.default_rng(0).normal(size=(70, 6)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")
FIT = {"epochs": 1, "validation_data": (X[:30], Y[:30]), "verbose": 0}


def build(hp=None, model_class=keras.Sequential, **compile_arguments):
    model = model_class([keras.Input((6,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", **compile_arguments)
    return model


class TestRunner:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"steps_per_epoch": 2}, "steps_per_epoch"),
            ({"callbacks": [keras.callbacks.TerminateOnNaN()]}, "TerminateOnNaN"),
        ],
    )
    def test_what_cannot_be_warm_is_plain_and_says_so_once(self, change, reason):
        said = []
        objective = keras_tuner.Objective("val_loss", "min")
        runner = Runner(build, objective, seed=1, say=said.append)
        hp = keras_tuner.HyperParameters()
        for _ in range(2):
            run = runner.train(hp, 0, X, Y, **FIT | change)
            assert run["how"] == "plain"
            assert reason in run["why_plain"]
        [sentence] = said
        assert reason in sentence

    def test_data_that_are_not_in_memory(self):
        with pytest.raises(NeedsPlainFit, match="float"):
            parse_fit_arguments((X.tolist(), Y), {})


class OwnFit(keras.Sequential):
    """A model that trains itself."""

    def fit(self, *args, **kwargs):
        return super().fit(*args, **kwargs)


class TestModel:
    def test_one_that_is_trained_by_its_step(self):
        check_model(build())

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ({"model_class": OwnFit}, "a `fit` of its own"),
            ({"run_eagerly": True}, "runs eagerly"),
            ({"steps_per_execution": 2}, "steps_per_execution"),
        ],
    )
    def test_one_that_is_not(self, arguments, reason):
        with pytest.raises(NeedsPlainFit, match=reason):
            check_model(build(**arguments))

    def test_one_that_is_not_compiled(self):
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
        with pytest.raises(NeedsPlainFit, match="not compiled"):
            check_model(model)
