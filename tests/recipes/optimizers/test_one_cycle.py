"""Truth: straight lines between four points in NumPy, and torch's own schedule."""

import keras
import numpy as np
import pytest
from contract import check_config, numpy
from schedule_checks import check_fit, check_saving

from hornbook.recipes.optimizers.one_cycle import OneCycle


def rates(schedule, steps):
    return np.array([float(numpy(schedule(step))) for step in steps])


@pytest.mark.parametrize("steps", [2, 21, 1000, 100_000])
@pytest.mark.parametrize(
    ("div_factor", "final_div_factor", "pct_start"),
    [(25, 1e4, 0.45), (10, 100, 0.3), (1, 1, 0.5)],
)
def test_straight_lines_between_four_points(
    steps, div_factor, final_div_factor, pct_start
):
    schedule = OneCycle(0.5, steps, div_factor, final_div_factor, pct_start)
    low, cycle = 0.5 / div_factor, 2 * pct_start
    places = np.array([0, pct_start, cycle, 1]) * (steps - 1)
    values = [low, 0.5, low, low / final_div_factor if cycle < 1 else low]
    at = np.unique(np.linspace(0, steps - 1, 40).astype(int))
    truth = np.interp(at, places, values)
    np.testing.assert_allclose(rates(schedule, at), truth, rtol=1e-4, atol=1e-7)
    if cycle < 1:  # goes on at the last rate
        np.testing.assert_allclose(
            rates(schedule, [steps - 1, steps, 10 * steps]),
            low / final_div_factor,
            rtol=1e-2,
            atol=1e-7,
        )


def test_it_is_torch_s_with_three_phases():
    import torch

    steps = 201
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        0.3,
        total_steps=steps,
        pct_start=0.45,
        anneal_strategy="linear",
        cycle_momentum=False,
        three_phase=True,
    )
    truth = []
    for _ in range(steps):
        truth.append(theirs.get_last_lr()[0])
        optimizer.step()
        if len(truth) < steps:
            theirs.step()
    ours = rates(OneCycle(0.3, steps), range(steps))
    # torch turns half a step before us at the top, and one and a half at the bottom.
    np.testing.assert_allclose(ours, truth, atol=1.5 * 0.3 / 90)
    np.testing.assert_allclose(ours[[0, -1]], np.take(truth, [0, -1]), rtol=1e-3)


def test_contract(tmp_path):
    check_config(OneCycle(0.1, 30, 5, 50, 0.4))
    check_fit(lambda: OneCycle(0.1, 12))
    check_saving(OneCycle(0.1, 12), tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_lr", 0.0),
        ("max_lr", float("nan")),
        ("total_steps", 1),
        ("total_steps", 10.0),
        ("div_factor", 0.5),
        ("final_div_factor", 0.0),
        ("pct_start", 0.0),
        ("pct_start", 0.55),
    ],
)
def test_bad_arguments(name, value):
    with pytest.raises(ValueError, match=f"Received: {name}={value}"):
        OneCycle(**{"max_lr": 0.1, "total_steps": 10, name: value})


def test_layer_wise_rates_follow_it():
    from hornbook.recipes.optimizers.layerwise_learning_rate import (
        LayerwiseLearningRate,
    )

    optimizer = LayerwiseLearningRate(keras.optimizers.SGD(OneCycle(0.1, 5)), {})
    assert float(numpy(optimizer.learning_rate)) == pytest.approx(0.004)
