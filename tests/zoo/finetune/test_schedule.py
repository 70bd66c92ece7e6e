import numpy as np
import pytest

from hornbook.zoo.finetune.schedule import CosinePhases


def test_cosines_against_numpy():
    schedule = CosinePhases(0.3, [5, 8])
    again = CosinePhases.from_config(schedule.get_config())
    steps = np.arange(13)
    done = np.where(steps < 5, steps / 5, (steps - 5) / 8)
    expected = 0.3 * (1 + np.cos(np.pi * done)) / 2
    for each in (schedule, again):
        found = [float(each(step)) for step in steps]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_the_rate_rises_first_and_falls_from_its_value():
    schedule = CosinePhases(0.4, [10], warmup_ratio=0.4)
    found = [float(schedule(step)) for step in range(11)]
    np.testing.assert_allclose(found[:5], [0.1, 0.2, 0.3, 0.4, 0.4], rtol=1e-6)
    falling = 0.4 * (1 + np.cos(np.pi * np.arange(7) / 6)) / 2
    np.testing.assert_allclose(found[4:], falling, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("every", [2, 3])
def test_batches_of_one_step_share_a_rate(every):
    schedule = CosinePhases(0.3, [12], gradient_accumulation_steps=every)
    found = np.array([float(schedule(step)) for step in range(12)])
    assert np.array_equal(found, np.repeat(found[::every], every))
    alone = CosinePhases(0.3, [12])
    np.testing.assert_allclose(
        found[::every], [float(alone(step)) for step in range(0, 12, every)]
    )
