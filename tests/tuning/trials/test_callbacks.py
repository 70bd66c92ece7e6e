"""Callbacks of a trial: pruning, the weights that count, and the state."""

import keras
import keras_tuner
import numpy as np
import pytest

from hornbook.tuning.trials.callbacks import Pruning, ScoredWeights, TrialState

OBJECTIVE = keras_tuner.Objective("val_loss", "min")


def compiled():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    return model


def test_pruning():
    earlier = [[3.0, 2.0, 1.0], [3.0, 2.5, 2.0], [4.0, 3.5, 3.0], [5.0, 4.0, 3.0]]
    ends = {}
    for rule in (None, "median", "halving"):
        for name, curve in {"good": [2.0, 1.0], "bad": [6.0, 5.0]}.items():
            pruning = Pruning(rule, OBJECTIVE, earlier)
            pruning.set_params({"epochs": 9})
            pruning.set_model(compiled())
            for epoch, value in enumerate(curve):
                if pruning.epoch is None:
                    pruning.on_epoch_end(epoch, {"val_loss": value})
            ends[rule, name] = pruning.epoch
    assert ends[None, "bad"] is None
    assert ends["median", "good"] is ends["halving", "good"] is None
    assert ends["median", "bad"] == ends["halving", "bad"] == 0


@pytest.mark.parametrize(("rule", "kept"), [("best", 1.0), ("last", 2.0)])
def test_weights_of_the_epoch_that_counts_are_saved_once(tmp_path, rule, kept):
    model, path = compiled(), tmp_path / "checkpoint.weights.h5"
    callback = ScoredWeights(OBJECTIVE, rule, path)
    callback.set_model(model)
    kernel = model.layers[0].kernel
    for epoch, value in enumerate([3.0, 1.0, 2.0]):
        kernel.assign(np.full((4, 2), value, "float32"))
        callback.on_epoch_end(epoch, {"val_loss": value})
        assert not path.exists()
    callback.on_train_end({"val_loss": 2.0})
    assert callback.best == kept
    np.testing.assert_array_equal(kernel, 2.0)  # The model is as it was.
    other = compiled()
    other.load_weights(path)
    np.testing.assert_array_equal(other.layers[0].kernel, kept)


def test_state_is_not_saved_more_often_than_asked(tmp_path):
    x, y = np.zeros((4, 4), "float32"), np.zeros((4, 2), "float32")
    for seconds, is_saved in {1e9: False, 0.0: True}.items():
        model, folder = compiled(), tmp_path / f"state-{is_saved}"
        model.fit(x, y, epochs=2, verbose=0, callbacks=[TrialState(folder, seconds)])
        assert any(folder.rglob("*")) == is_saved
