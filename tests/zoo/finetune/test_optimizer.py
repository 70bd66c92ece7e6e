import keras
import numpy as np
import pytest

from hornbook.zoo.finetune.checks import OPTIMIZERS
from hornbook.zoo.finetune.fine_tune import Settings
from hornbook.zoo.finetune.optimizer import build_optimizer


def built(settings, rate=0.1, steps=()):
    optimizer = build_optimizer(settings, rate, list(steps))
    kernel = keras.Variable(np.ones((2, 2), "float32"), name="kernel")
    bias = keras.Variable(np.ones(2, "float32"), name="bias")
    optimizer.build([kernel, bias])
    return optimizer, kernel, bias


def step(optimizer, *variables, gradient=0.0):
    grads = [keras.ops.full(each.shape, gradient, "float32") for each in variables]
    optimizer.apply(grads, list(variables))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_name_takes_a_step_that_lowers_a_sum(name):
    optimizer, kernel, bias = built(Settings(optimizer=name))
    step(optimizer, kernel, bias, gradient=1.0)
    assert keras.ops.convert_to_numpy(kernel).max() < 1
    assert keras.ops.convert_to_numpy(bias).max() < 1


def test_the_decay_of_kernels_is_the_closed_form_and_spares_biases():
    settings = Settings(optimizer="adamw", weight_decay=0.5)
    optimizer, kernel, bias = built(settings, rate=0.1)
    step(optimizer, kernel, bias)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel), 1 - 0.1 * 0.5)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(bias), 1)


def test_gradients_are_clipped_together():
    settings = Settings(optimizer="sgd", global_clipnorm=1.0)
    optimizer, kernel, bias = built(settings, rate=1.0)
    step(optimizer, kernel, bias, gradient=10.0)
    # Six equal gradients of norm 1; Nesterov's first step is 1.9 of them.
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(kernel), 1 - 1.9 / np.sqrt(6), rtol=1e-5
    )


def test_an_optimizer_of_your_own_is_taken_with_its_numbers():
    own = keras.optimizers.Lion(0.2, beta_1=0.7)
    optimizer = build_optimizer(Settings(optimizer=own), None, [])
    assert type(optimizer.optimizer) is keras.optimizers.Lion
    assert optimizer.optimizer is not own  # each phase has one of its own
    assert optimizer.optimizer.beta_1 == 0.7
    assert float(optimizer.learning_rate) == pytest.approx(0.2)


def test_a_number_falls_over_the_phases_and_a_schedule_stays():
    optimizer, *_ = built(Settings(), rate=0.1, steps=[4])
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    optimizer.iterations.assign(4)
    assert float(optimizer.learning_rate) == pytest.approx(0.0, abs=1e-8)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    optimizer, *_ = built(Settings(learning_rate=schedule), rate=schedule, steps=[4])
    optimizer.iterations.assign(1)
    assert float(optimizer.learning_rate) == pytest.approx(0.05)
