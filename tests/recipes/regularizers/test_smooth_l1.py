import keras
import numpy as np
import pytest
from contract import TOLERANCE, check_config, numpy
from keras import ops

from hornbook.recipes.regularizers.smooth_l1 import SmoothL1

WEIGHTS = np.array([[-3.0, -1.0, -0.5, 0.0], [1e-3, 0.25, 1.0, 20.0]], "float32")


def truth(w):
    w = np.abs(w.astype("float64"))
    return np.where(w < 1, w**2 / 2, w - 0.5).sum()


def fit(targets, regularizer, rate, steps=1, dtype="float32"):
    """Pulls each weight to its target by (w - target)² / 2, from 1."""
    count = len(targets)
    layer = keras.layers.Dense(
        1,
        use_bias=False,
        kernel_initializer="ones",
        kernel_regularizer=regularizer,
        dtype=dtype,
    )
    model = keras.Sequential([keras.Input((count,)), layer])
    model.compile(keras.optimizers.SGD(rate), "mse")
    x = np.tile(np.sqrt(count / 2) * np.eye(count), (steps, 1))
    model.fit(x, x @ targets, batch_size=count, shuffle=False, verbose=0)
    return numpy(ops.cast(layer.kernel, "float32"))[:, 0]


def test_value():
    penalty = SmoothL1(0.3)(ops.convert_to_tensor(WEIGHTS))
    assert float(penalty) == pytest.approx(0.3 * truth(WEIGHTS), rel=1e-6)


def test_is_the_huber_loss_of_weights():
    huber = keras.losses.Huber(delta=1.0, reduction="sum")
    expected = huber(np.zeros((8, 1)), WEIGHTS.reshape(8, 1))
    assert float(SmoothL1(1.0)(WEIGHTS)) == pytest.approx(float(expected), rel=1e-6)


def test_gradient_is_clipped_weights():
    layer = keras.layers.Dense(
        4, use_bias=False, kernel_regularizer=SmoothL1(0.3), kernel_initializer="zeros"
    )
    model = keras.Sequential([keras.Input((2,)), layer])
    layer.kernel.assign(WEIGHTS)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(np.zeros((1, 2)), np.zeros((1, 4)), verbose=0)
    step = WEIGHTS - numpy(layer.kernel)
    np.testing.assert_allclose(step, 0.3 * np.clip(WEIGHTS, -1, 1), atol=2e-6)


def test_makes_no_weight_sparse_where_l1_does():
    targets, factor, rate = np.array([0.1, -0.2, 0.25, 2.0]), 0.3, 0.05
    smooth = fit(targets, SmoothL1(factor), rate, steps=250)
    expected = [0.1 / 1.3, -0.2 / 1.3, 0.25 / 1.3, 2.0 - factor]
    np.testing.assert_allclose(smooth, expected, rtol=1e-4)
    sparse = fit(targets, keras.regularizers.L1(factor), rate, steps=250)
    near = 2 * rate * factor  # the furthest that a step can overshoot
    assert (np.abs(sparse[:3]) < near).all()
    assert (np.abs(smooth[:3]) > 2 * near).all()


def test_small_weights_cannot_tell_it_from_l2():
    w = WEIGHTS / 20
    assert float(SmoothL1(0.3)(w)) == pytest.approx(
        float(keras.regularizers.L2(0.15)(w)), rel=1e-5
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision(dtype):
    w = ops.cast(ops.full((300, 300), 1.5), dtype)
    assert float(SmoothL1(1.0)(w)) == pytest.approx(90_000)  # beyond float16's range
    after = fit(np.ones(3), SmoothL1(0.25), rate=0.5, dtype=dtype)
    np.testing.assert_allclose(after, 1 - 0.5 * 0.25, rtol=TOLERANCE[dtype])


def test_config_and_saving(tmp_path):
    check_config(SmoothL1(0.3))
    layer = keras.layers.Dense(2, kernel_regularizer=SmoothL1(0.3))
    model = keras.Sequential([keras.Input((3,)), layer])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(again.layers[0].kernel_regularizer, SmoothL1)
    np.testing.assert_allclose(numpy(again.losses[0]), numpy(model.losses[0]))


@pytest.mark.parametrize("factor", [-0.1, float("nan"), float("inf")])
def test_refuses(factor):
    with pytest.raises(ValueError, match=f"Received: factor={factor}"):
        SmoothL1(factor)
