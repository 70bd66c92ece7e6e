"""Keras's own schedules and plateau rule are what we point to: here is why."""

import keras
import numpy as np
import pytest
from contract import numpy

from hornbook.recipes.optimizers.layerwise_learning_rate import LayerwiseLearningRate

schedules = keras.optimizers.schedules
STEPS = np.array([0, 1, 2, 7, 100, 999, 1000, 5000, 100_000, 1_000_000])
RATE = 0.1


def rates(schedule):
    steps = [keras.ops.cast(int(step), "int32") for step in STEPS]
    return np.array([float(numpy(schedule(step))) for step in steps])


# The notes' decays.


@pytest.mark.parametrize("k", [1e-2, 1e-4, 1e-6])
def test_equal_steps_are_polynomial_decay(k):
    """rate - kt, until it is 0."""
    ours = rates(schedules.PolynomialDecay(RATE, RATE / k, end_learning_rate=0.0))
    slope = RATE / (RATE / k)
    np.testing.assert_allclose(ours, np.maximum(RATE - slope * STEPS, 0), atol=1e-8)


@pytest.mark.parametrize("k", [1e-2, 1e-4, 1e-6])
def test_fractional_decay_is_inverse_time_decay(k):
    """rate / (1 + kt)."""
    ours = rates(schedules.InverseTimeDecay(RATE, decay_steps=1, decay_rate=k))
    np.testing.assert_allclose(ours, RATE / (1 + k * STEPS), rtol=1e-6)


@pytest.mark.parametrize("k", [1e-2, 1e-4, 1e-6])
def test_exponential_decay_is_keras_s_with_the_base_1_over_e(k):
    """rate * exp(-kt)."""
    ours = rates(schedules.ExponentialDecay(RATE, 1 / k, np.exp(-1.0).item()))
    np.testing.assert_allclose(ours, RATE * np.exp(-k * STEPS), rtol=2e-6, atol=1e-30)


def test_the_base_exp_of_minus_k_drifts():
    """A base near 1 loses its last digits in float32, and steps multiply the loss."""
    ours = rates(schedules.ExponentialDecay(RATE, 1, np.exp(-1e-6).item()))
    truth = RATE * np.exp(-1e-6 * STEPS)
    assert abs(ours[-1] / truth[-1] - 1) > 0.01


# The plateau rule.

X, Y = np.zeros((8, 3), "float32"), np.zeros((8, 1), "float32")


def two_layers():
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, name="backbone"),
            keras.layers.Dense(1, name="head"),
        ]
    )


class Flat(keras.callbacks.Callback):
    """A loss that never gets better, for the callbacks after it."""

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = 1.0


def fit(optimizer, epochs=5, **arguments):
    """Trains over a plateau; gives the model."""
    model = two_layers()
    model.compile(optimizer, "mse")
    plateau = keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.5, **arguments)
    model.fit(X, Y, epochs=epochs, verbose=0, callbacks=[Flat(), plateau])
    return model


def moves(model, optimizer=None):
    """How far a step of SGD moves the two layers where all gradients are 1."""
    variables = model.trainable_variables
    before = [np.array(numpy(v)) for v in variables]
    ones = [keras.ops.ones(v.shape) for v in variables]
    (optimizer or model.optimizer).apply(ones, variables)
    moved = [np.mean(b - numpy(v)) for b, v in zip(before, variables, strict=True)]
    return moved[0], moved[2]


@pytest.mark.parametrize("wrap", [False, True])
def test_reduce_on_plateau_keeps_the_ratios_of_layerwise_rates(wrap):
    layerwise = LayerwiseLearningRate(keras.optimizers.SGD(0.8), {"backbone": 0.25})
    optimizer = keras.optimizers.LossScaleOptimizer(layerwise) if wrap else layerwise
    model = fit(optimizer)  # the first epoch is the best; each of the four after halves
    assert float(numpy(optimizer.learning_rate)) == pytest.approx(0.8 / 16)
    assert layerwise.multipliers == [0.25, 0.25, 1.0, 1.0]
    np.testing.assert_allclose(moves(model, layerwise), [0.0125, 0.05], rtol=1e-3)


def test_its_floor_keeps_the_ratios_too():
    model = fit(
        LayerwiseLearningRate(keras.optimizers.SGD(0.8), {"backbone": 0.25}),
        epochs=8,
        min_lr=0.1,
    )
    np.testing.assert_allclose(moves(model), [0.025, 0.1], rtol=1e-3)


def multi():
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            keras.optimizers.SGD(0.8), {".*backbone/.*": keras.optimizers.SGD(0.2)}
        )
    )


def test_it_reduces_each_rate_of_a_multi_optimizer():
    np.testing.assert_allclose(moves(fit(multi())), [0.2 / 16, 0.8 / 16], rtol=1e-3)


def test_but_its_floor_flattens_the_rates_of_a_multi_optimizer():
    model = fit(multi(), epochs=8, min_lr=0.1)
    np.testing.assert_allclose(moves(model), [0.1, 0.1], rtol=1e-3)
