import keras
import numpy as np
import pytest
from contract import check_config, numpy
from keras import ops

from hornbook.recipes.regularizers.group_lasso import GroupLasso

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype("float32")


def truth(w, axis):
    """One norm a group, group by group."""
    w = np.moveaxis(w.astype("float64"), axis, range(len(axis)))
    groups = w.reshape(*w.shape[: len(axis)], -1)
    norms = [np.linalg.norm(groups[i]) for i in np.ndindex(groups.shape[:-1])]
    return np.sqrt(groups.shape[-1]) * np.sum(norms)


@pytest.mark.parametrize("axis", [-1, 3, -2, 0, (-2, -1), (2,), [0, 1], ()])
def test_value(axis):
    expected = truth(KERNEL, [axis] if isinstance(axis, int) else list(axis))
    found = float(GroupLasso(0.3, axis)(KERNEL))
    assert found == pytest.approx(0.3 * expected, rel=1e-6)


def test_groups_of_one_weight_are_l1():
    w = KERNEL.reshape(1, -1)
    lasso = float(keras.regularizers.L1(0.3)(w))
    assert float(GroupLasso(0.3)(w)) == pytest.approx(lasso, rel=1e-6)


def one_step(kernel, regularizer, dtype="float32"):
    """What a step of rate 1 takes away when the penalty is all of the loss."""
    inputs, units = kernel.shape
    layer = keras.layers.Dense(
        units, use_bias=False, kernel_regularizer=regularizer, dtype=dtype
    )
    model = keras.Sequential([keras.Input((inputs,)), layer])
    layer.kernel.assign(kernel)
    before = numpy(ops.cast(layer.kernel, "float32"))
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(np.zeros((1, inputs)), np.zeros((1, units)), verbose=0)
    return before, before - numpy(ops.cast(layer.kernel, "float32"))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_gradient_also_of_groups_at_zero(dtype):
    kernel = KERNEL.reshape(-1, 5).copy()
    kernel[:, 2] = 0
    before, step = one_step(kernel, GroupLasso(0.25), dtype)
    norms = np.linalg.norm(before, axis=0)
    expected = 0.25 * np.sqrt(36) * before / np.where(norms, norms, 1)
    tolerance = {"float32": 1e-6, "float16": 2e-3, "bfloat16": 2e-2}[dtype]
    np.testing.assert_allclose(step, expected, atol=tolerance)
    assert (step[:, 2] == 0).all()


def test_a_plain_norm_is_nan_at_zero():
    def plain(w):
        return ops.sum(ops.sqrt(ops.sum(ops.square(w), axis=0)))

    _, step = one_step(np.zeros((3, 2), "float32"), plain)
    assert np.isnan(step).any()
    _, step = one_step(np.zeros((3, 2), "float32"), GroupLasso(1.0))
    assert (step == 0).all()


def test_low_precision_sums_do_not_overflow():
    w = ops.cast(ops.full((300, 300), 20.0), "float16")
    assert float(GroupLasso(1.0)(w)) == pytest.approx(300 * 300 * 20)


# Least squares with a known solution: each unit's target is shrunk by the penalty.

INPUTS, UNITS, FACTOR = 16, 8, 0.1
LENGTHS = np.array([0.05, 0.1, 0.2, 0.3, 1, 2, 3, 4])  # threshold: 0.1 * √16 = 0.4
TARGETS = np.random.default_rng(0).normal(size=(INPUTS, UNITS))
TARGETS *= LENGTHS / np.linalg.norm(TARGETS, axis=0)


def solve(optimizer, steps, noise=0.0):
    """Minimises ½|W - targets|² + penalty: the kernel after each of the last steps."""
    rng = np.random.default_rng(1)
    layer = keras.layers.Dense(
        UNITS, use_bias=False, kernel_regularizer=GroupLasso(FACTOR)
    )
    model = keras.Sequential([keras.Input((INPUTS,)), layer])
    layer.kernel.assign(TARGETS)
    model.compile(optimizer, "mse")
    scale = np.sqrt(INPUTS * UNITS / 2)
    x = np.tile(scale * np.eye(INPUTS), (steps, 1))
    y = np.tile(scale * TARGETS, (steps, 1))
    y += scale * noise * rng.normal(size=y.shape)
    model.fit(x, y, batch_size=INPUTS, shuffle=False, verbose=0)
    kernels = []
    for step in range(10):
        last = slice(step * INPUTS, (step + 1) * INPUTS)
        model.train_on_batch(x[last], y[last])
        kernels.append(numpy(layer.kernel))
    return kernels


def swing(kernels):
    """The largest root mean square of the units whose solution is 0."""
    return max(np.sqrt((w[:, :4] ** 2).mean(axis=0)).max() for w in kernels)


def test_whole_units_vanish_and_the_rest_are_shrunk():
    rate = keras.optimizers.schedules.CosineDecay(0.1, 400)
    kernels = solve(keras.optimizers.SGD(rate), steps=400)
    shrunk = TARGETS * np.maximum(0, 1 - FACTOR * np.sqrt(INPUTS) / LENGTHS)
    np.testing.assert_allclose(kernels[-1], shrunk, atol=1e-4)
    assert swing(kernels) < 1e-4
    gone = GroupLasso(FACTOR).zero_groups(kernels[-1], tol=1e-4)
    np.testing.assert_array_equal(gone, LENGTHS < 0.4)


@pytest.mark.parametrize(
    ("name", "arguments", "rate", "bound"),
    [
        ("SGD", {}, 0.1, 2 * 0.1 * FACTOR),
        ("SGD", {"momentum": 0.9}, 0.01, 10 * 0.01 * FACTOR),
        ("Adam", {}, 0.01, 0.01),
    ],
)
def test_swings_about_zero_as_told(name, arguments, rate, bound):
    optimizer = getattr(keras.optimizers, name)(rate, **arguments)
    kernels = solve(optimizer, steps=300)
    assert 0.01 * bound < swing(kernels) < bound
    gone = [GroupLasso(FACTOR).zero_groups(w, tol=bound) for w in kernels]
    assert (np.array(gone) == (LENGTHS < 0.4)).all()
    assert not GroupLasso(FACTOR).zero_groups(kernels[-1], tol=0.0).any()


def test_zero_groups():
    kernel = KERNEL.copy()
    kernel[..., 1, :] = 1e-4
    kernel[..., 3] = 0
    penalty = GroupLasso(0.1)
    assert penalty.zero_groups(kernel, 1e-3).tolist() == [0, 0, 0, 1, 0]
    rows = GroupLasso(0.1, axis=-2)
    assert rows.zero_groups(keras.Variable(kernel), 1.001e-4).tolist() == [0, 1, 0, 0]
    assert not rows.zero_groups(kernel, 0.8e-4).any()
    pairs = GroupLasso(0.1, axis=(2, 3)).zero_groups(kernel, 1e-3)
    assert pairs.shape == (4, 5)
    assert pairs.sum() == 5 + 4 - 1
    low = ops.cast(kernel, "bfloat16")
    assert penalty.zero_groups(low, 1e-3).tolist() == [0, 0, 0, 1, 0]


@pytest.mark.parametrize("axis", [-1, (2, 3)])
def test_config_and_saving(tmp_path, axis):
    check_config(GroupLasso(0.3, axis))
    layer = keras.layers.Conv2D(2, 3, kernel_regularizer=GroupLasso(0.3, axis))
    model = keras.Sequential([keras.Input((8, 8, 3)), layer])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(again.layers[0].kernel_regularizer, GroupLasso)
    np.testing.assert_allclose(numpy(again.losses[0]), numpy(model.losses[0]))


@pytest.mark.parametrize("factor", [-0.1, float("nan"), float("inf")])
def test_refuses_factors(factor):
    with pytest.raises(ValueError, match=f"Received: factor={factor}"):
        GroupLasso(factor)


@pytest.mark.parametrize("axis", [2, -3, (0, 2), (0, 1), (1, -1)])
def test_refuses_axes(axis):
    with pytest.raises(ValueError, match="Received: axis="):
        GroupLasso(0.1, axis)(np.ones((3, 4), "float32"))
    with pytest.raises(ValueError, match="Received: axis="):
        GroupLasso(0.1, axis).zero_groups(np.ones((3, 4)), 0.1)
