"""Truth: the closed forms in NumPy, and Keras's schedule by itself, shifted."""

import keras
import numpy as np
import pytest
from contract import check_config, numpy
from schedule_checks import check_fit, check_saving

from hornbook.recipes.optimizers.one_cycle import OneCycle
from hornbook.recipes.optimizers.warm_up import WarmUp

schedules = keras.optimizers.schedules
STEPS = [0, 1, 2, 9, 10, 11, 50, 99, 100, 101, 1000, 100_000]


def rates(schedule, steps=STEPS):
    return np.array([float(numpy(schedule(step))) for step in steps])


def inverse(t):
    return 0.2 / (1 + 0.01 * t)


@pytest.mark.parametrize("steps", [0, 1, 10, 100])
def test_closed_form(steps):
    ours = rates(WarmUp(schedules.InverseTimeDecay(0.2, 1, 0.01), steps))
    t = np.array(STEPS)
    rise = 0.2 * (t + 1) / (steps + 1)
    truth = np.where(t < steps, rise, inverse(np.maximum(t - steps, 0)))
    np.testing.assert_allclose(ours, truth, rtol=1e-6)
    if steps:  # it never jumps
        across = rates(
            WarmUp(schedules.InverseTimeDecay(0.2, 1, 0.01), steps), range(2 * steps)
        )
        assert np.abs(np.diff(across)).max() < 1.01 * 0.2 / (steps + 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.CosineDecay(0.1, 80),
        lambda: schedules.PiecewiseConstantDecay([20, 50], [0.3, 0.2, 0.1]),
        lambda: schedules.PolynomialDecay(0.1, 60),
        lambda: OneCycle(0.1, 90),
        lambda: WarmUp(0.1, 7),
    ],
)
def test_it_is_the_schedule_shifted(make):
    after = rates(WarmUp(make(), 10), range(10, 120))
    np.testing.assert_allclose(after, rates(make(), range(110)), rtol=1e-6)
    before = rates(WarmUp(make(), 10), range(10))
    first = float(numpy(make()(0)))
    np.testing.assert_allclose(before, first * np.arange(1, 11) / 11, rtol=1e-6)


def test_a_number_is_a_constant():
    np.testing.assert_allclose(
        rates(WarmUp(0.4, 3), range(6)), [0.1, 0.2, 0.3, 0.4, 0.4, 0.4], rtol=1e-6
    )


def test_contract(tmp_path):
    for schedule in (0.1, schedules.CosineDecay(0.1, 8), OneCycle(0.1, 9)):
        check_config(WarmUp(schedule, 4))
        check_fit(lambda schedule=schedule: WarmUp(schedule, 4))
    check_saving(WarmUp(OneCycle(0.1, 9), 4), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fast", 3), "Received: schedule=fast"),
        ((-0.1, 3), "Received: schedule=-0.1"),
        ((float("nan"), 3), "Received: schedule=nan"),
        ((0.1, -1), "Received: warmup_steps=-1"),
        ((0.1, 2.5), "Received: warmup_steps=2.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        WarmUp(*arguments)
