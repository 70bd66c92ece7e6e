import keras
import numpy as np
import pytest
from contract import check_config, numpy
from keras import ops
from sklearn import linear_model

from hornbook.recipes.regularizers.elastic_net import ElasticNet

WEIGHTS = np.random.default_rng(0).normal(size=(5, 7)).astype("float32")


def test_value():
    expected = 0.3 * np.sum(0.7 * WEIGHTS.astype("float64") ** 2 + np.abs(WEIGHTS))
    assert float(ElasticNet(0.3, 0.7)(WEIGHTS)) == pytest.approx(expected, rel=1e-6)


def test_is_l1_l2_of_keras():
    theirs = keras.regularizers.L1L2(l1=0.3, l2=0.3 * 0.7)
    ours = ElasticNet(0.3, 0.7)
    assert float(ours(WEIGHTS)) == pytest.approx(float(theirs(WEIGHTS)), rel=1e-6)
    assert (ours.l1, ours.l2) == (theirs.l1, theirs.l2)
    without = ElasticNet(0.3, beta=0.0)(WEIGHTS)
    lasso = keras.regularizers.L1(0.3)(WEIGHTS)
    assert float(without) == pytest.approx(float(lasso), rel=1e-6)


def test_finds_the_weights_of_scikit_learn():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(64, 6))
    w = np.array([2.0, -1.0, 0.5, 0.0, 0.0, 0.0])
    y = x @ w + 0.1 * rng.normal(size=64)
    alpha, l1_ratio = 0.3, 0.6
    theirs = linear_model.ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-10)
    theirs.fit(x, y)

    # Keras's loss is twice theirs.
    ours = ElasticNet(2 * alpha * l1_ratio, beta=(1 - l1_ratio) / (2 * l1_ratio))
    layer = keras.layers.Dense(1, kernel_regularizer=ours)
    model = keras.Sequential([keras.Input((6,)), layer])
    rate = keras.optimizers.schedules.CosineDecay(0.1, 300)
    model.compile(keras.optimizers.SGD(rate), "mse")
    x, y = np.tile(x, (300, 1)), np.tile(y, 300)
    model.fit(x, y, batch_size=64, shuffle=False, verbose=0)
    found = numpy(layer.kernel)[:, 0]
    np.testing.assert_allclose(found, theirs.coef_, atol=1e-3)
    gone = theirs.coef_ == 0
    assert gone.sum() == 3
    assert (np.abs(found[gone]) < 1e-3).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision(dtype):
    w = ops.cast(ops.full((300, 300), 1.5), dtype)
    assert float(ElasticNet(1.0, 2.0)(w)) == pytest.approx(540_000)
    layer = keras.layers.Dense(3, kernel_regularizer=ElasticNet(0.1), dtype=dtype)
    model = keras.Sequential([keras.Input((4,)), layer])
    layer.kernel.assign(np.full((4, 3), 0.5))
    model.compile(keras.optimizers.SGD(0.5), "mse")
    model.fit(np.zeros((2, 4)), np.zeros((2, 3)), verbose=0)
    after = numpy(ops.cast(layer.kernel, "float32"))
    np.testing.assert_allclose(after, 0.5 - 0.5 * 0.1 * (2 * 0.5 + 1), rtol=5e-3)


def test_config_and_saving(tmp_path):
    check_config(ElasticNet(0.3, 0.7))
    layer = keras.layers.Dense(2, kernel_regularizer=ElasticNet(0.3, 0.7))
    model = keras.Sequential([keras.Input((3,)), layer])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(again.layers[0].kernel_regularizer, ElasticNet)
    np.testing.assert_allclose(numpy(again.losses[0]), numpy(model.losses[0]))


@pytest.mark.parametrize("name", ["factor", "beta"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_refuses(name, value):
    with pytest.raises(ValueError, match=f"Received: {name}={value}"):
        ElasticNet(**{name: value})
