"""When trials can be run side by side in one compiled step."""

import keras
import pytest

from hornbook import tuning
from hornbook.errors import InputError


def build(hp):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(hp.Float("learning_rate", 1e-3, 1e-1)), "mse")
    return model


def make(folder, **arguments):
    return tuning.RandomSearch(build, "val_loss", directory=str(folder), **arguments)


class TestArguments:
    @pytest.mark.parametrize("size", [0, -1, 2.0, True, "auto"])
    def test_size(self, tmp_path, size):
        with pytest.raises(InputError, match="population"):
            make(tmp_path, population=size)

    @pytest.mark.parametrize(
        "arguments", [{"warm": False}, {"executor": tuning.Pool(workers=1)}]
    )
    def test_what_it_does_not_go_with(self, tmp_path, arguments):
        with pytest.raises(InputError, match="population"):
            make(tmp_path, population=2, **arguments)

    def test_other_backends_are_refused_at_once(self, tmp_path, monkeypatch):
        monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
        with pytest.raises(InputError, match="population=2 on torch"):
            make(tmp_path, population=2)
