import keras
import numpy as np
import pytest
from contract import numpy
from keras import layers

from hornbook.recipes.callbacks.full_state import FullState
from hornbook.recipes.callbacks.snapshot_ensemble import SnapshotEnsemble
from hornbook.recipes.inference.ensemble import Ensemble
from hornbook.recipes.optimizers.layerwise_learning_rate import LayerwiseLearningRate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 5)).astype("float32")
Y = (X @ RNG.normal(size=(5, 3))).argmax(-1)


def paper(step, total, cycles, rate):
    """Equation 2 of Huang et al., whose steps are counted from 1."""
    length = np.ceil(total / cycles)
    return rate / 2 * (np.cos(np.pi * ((step - 1) % length) / length) + 1)


def downhill(optimizer):
    """A model whose gradient is -1, so that SGD's step is the rate itself."""
    dense = layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), dense])
    model.compile(optimizer, lambda y, y_pred: -keras.ops.mean(y_pred, axis=-1))
    return model


class Weights(keras.callbacks.Callback):
    """Notes the weight at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.seen = [0.0]

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(float(self.model.get_weights()[0].ravel()[0]))


def fit(model, callback, steps, epochs, **kwargs):
    weights = Weights()
    x = np.ones((2 * steps, 1), "float32")
    callbacks = [callback, weights]
    model.fit(x, x, 2, epochs, verbose=0, callbacks=callbacks, **kwargs)
    return np.diff(weights.seen)


@pytest.mark.parametrize(("num_cycles", "epochs"), [(1, 4), (2, 6), (3, 3), (5, 10)])
@pytest.mark.parametrize("steps", [1, 4])
def test_the_schedule_is_the_papers(steps, num_cycles, epochs):
    """Seen in what the weights did: their steps are the rates."""
    callback = SnapshotEnsemble(num_cycles, learning_rate=0.2)
    moved = fit(downhill(keras.optimizers.SGD(7.0)), callback, steps, epochs)
    total = steps * epochs
    rates = [paper(t, total, num_cycles, 0.2) for t in range(1, total + 1)]
    expected = np.reshape(rates, (epochs, steps)).sum(1)
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-6)
    # The whole rate first, in each cycle; next to nothing last.
    cycles = np.reshape(rates, (num_cycles, -1))
    np.testing.assert_allclose(cycles[:, 0], 0.2)
    snapshots = [float(weights[0].ravel()[0]) for weights in callback.snapshots]
    np.testing.assert_allclose(snapshots, np.cumsum(cycles.sum(1)), rtol=1e-4)


def test_layerwise_rates_keep_their_ratios():
    optimizer = LayerwiseLearningRate(keras.optimizers.SGD(7.0), [0.25])
    moved = fit(downhill(optimizer), SnapshotEnsemble(2, 0.2), 2, 4)
    rates = [paper(t, 8, 2, 0.2) for t in range(1, 9)]
    expected = 0.25 * np.reshape(rates, (4, 2)).sum(1)
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-6)


def test_loss_scale():
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(7.0), 4.0)
    moved = fit(downhill(optimizer), SnapshotEnsemble(2, 0.2), 2, 4)
    rates = [paper(t, 8, 2, 0.2) for t in range(1, 9)]
    expected = np.reshape(rates, (4, 2)).sum(1)
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-6)


def test_mixed_float16():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = classifier()
        callback = SnapshotEnsemble(2, 0.1)
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[callback])
        members = callback.models()
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    assert rate == pytest.approx(0.05, rel=1e-6)  # half way, in the second of 2 steps
    assert members[0].layers[0].compute_dtype == "float16"


def test_begins_where_fit_does():
    """`initial_epoch` enters a cycle in its middle."""
    callback = SnapshotEnsemble(2, 0.2)
    moved = fit(downhill("sgd"), callback, 2, 8, initial_epoch=3)
    rates = np.reshape([paper(t, 16, 2, 0.2) for t in range(1, 17)], (8, 2)).sum(1)
    np.testing.assert_allclose(moved, rates[3:], rtol=1e-4)
    assert len(callback.snapshots) == 2


def classifier(seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(8, "relu")])
    model.add(layers.BatchNormalization())
    model.add(layers.Dropout(0.1, seed=1))
    model.add(layers.Dense(3))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def snapshots():
    model, callback = classifier(), SnapshotEnsemble(3, 0.2)
    model.fit(X, Y, 16, 9, verbose=0, callbacks=[callback])
    return model, callback


def test_models_are_the_snapshots(snapshots):
    model, callback = snapshots
    members = callback.models()
    assert len(members) == 3
    for member, weights in zip(members, callback.snapshots, strict=True):
        for ours, theirs in zip(member.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(numpy(members[-1](X)), numpy(model(X)), atol=1e-6)
    assert np.abs(numpy(members[0](X)) - numpy(members[1](X))).max() > 1e-3


def test_members_of_an_ensemble(snapshots, tmp_path):
    _, callback = snapshots
    members = callback.models()
    ensemble = Ensemble(members)
    softmax = [keras.ops.softmax(member(X)) for member in members]
    expected = np.mean([numpy(each) for each in softmax], axis=0)
    np.testing.assert_allclose(ensemble.predict(X, verbose=0), expected, atol=1e-6)
    ensemble.save(tmp_path / "ensemble.keras")
    again = keras.models.load_model(tmp_path / "ensemble.keras")
    np.testing.assert_allclose(numpy(again(X)), expected, atol=1e-6)


def test_training_the_model_on_leaves_the_snapshots():
    model, callback = classifier(), SnapshotEnsemble(1, 0.2)
    model.fit(X, Y, 16, 1, verbose=0, callbacks=[callback])
    kept = [weights.copy() for weights in callback.snapshots[0]]
    model.fit(X, Y, 16, 1, verbose=0)
    for now, then in zip(callback.snapshots[0], kept, strict=True):
        np.testing.assert_array_equal(now, then)
    assert (model.get_weights()[0] != kept[0]).any()


def test_a_second_training_begins_anew():
    model, callback = classifier(), SnapshotEnsemble(2, 0.2)
    for _ in range(2):
        model.fit(X, Y, 24, 2, verbose=0, callbacks=[callback])
        assert len(callback.snapshots) == 2


def test_resumes_with_full_state(tmp_path):
    """Ended after the first of two cycles, and gone on with by a new process' objects.

    The same weights and snapshots, bit for bit, as a training without the break.
    """

    class Break(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    def train(folder, *callbacks):
        model, callback = classifier(), SnapshotEnsemble(2, 0.2)
        every = [callback, *callbacks, FullState(tmp_path / folder)]
        model.fit(X, Y, 16, 4, verbose=0, callbacks=every, shuffle=False)
        return callback.snapshots

    straight = train("straight")
    with pytest.raises(KeyboardInterrupt):
        train("broken", Break())
    resumed = train("broken")
    assert len(resumed) == len(straight) == 2
    for ours, theirs in zip(resumed, straight, strict=True):
        for one, two in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_subclassed_model():
    @keras.saving.register_keras_serializable(package="test_snapshot_ensemble")
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3, "softmax")

        def build(self, input_shape):
            self.dense.build(input_shape)

        def call(self, x):
            return self.dense(x)

        def get_config(self):
            return {}

    model, callback = Subclassed(), SnapshotEnsemble(2, 0.1)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[callback])
    last = callback.models()[-1]
    np.testing.assert_allclose(numpy(last(X)), numpy(model(X)), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.1), "Received: num_cycles=0"),
        ((2.0, 0.1), r"Received: num_cycles=2\.0"),
        ((2, 0), "Received: learning_rate=0"),
        ((2, float("nan")), "Received: learning_rate=nan"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SnapshotEnsemble(*arguments)


def test_what_fit_gives_is_checked_before_training():
    model = classifier()
    before = model.get_weights()[0]
    with pytest.raises(ValueError, match=r"multiple of the 3 cycles.*epochs=4"):
        model.fit(X, Y, epochs=4, verbose=0, callbacks=[SnapshotEnsemble(3, 0.1)])

    def endless():
        while True:
            yield X, Y

    with pytest.raises(ValueError, match=r"`steps_per_epoch`\. Received: steps=None"):
        model.fit(endless(), epochs=2, verbose=0, callbacks=[SnapshotEnsemble(2, 0.1)])
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    model.compile(keras.optimizers.SGD(schedule), "sparse_categorical_crossentropy")
    with pytest.raises(TypeError, match="LearningRateSchedule"):
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[SnapshotEnsemble(2, 0.1)])
    np.testing.assert_array_equal(model.get_weights()[0], before)
