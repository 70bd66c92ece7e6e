"""The NumPy net and its optimizers, against Keras."""

import runpy
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture
def mlp(monkeypatch):
    monkeypatch.syspath_prepend(str(STUDIES))
    monkeypatch.delitem(sys.modules, "mlp", raising=False)
    return runpy.run_path(str(STUDIES / "mlp.py"))


@pytest.fixture
def optimizers():
    return runpy.run_path(str(STUDIES / "optimizers.py"))


def twin(net, activation):
    """The same net in Keras."""
    layers = [keras.layers.Dense(n, activation) for n in net.sizes[1:-1]]
    model = keras.Sequential([keras.Input((net.sizes[0],)), *layers])
    model.add(keras.layers.Dense(net.sizes[-1]))
    for layer, kernel, bias in zip(model.layers, net.kernels, net.biases, strict=True):
        layer.set_weights([kernel, bias])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss)
    return model


NAMES = {
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "leaky": lambda x: keras.ops.leaky_relu(x, 0.1),
    "elu": "elu",
}


@pytest.mark.parametrize("activation", NAMES)
def test_one_step_of_gradient_descent_is_that_of_keras(mlp, activation):
    rng = np.random.default_rng(0)
    net = mlp["MLP"]((6, 5, 4, 3), activation, rng)
    net.biases[0][:] = rng.normal(size=5)
    x, y = rng.normal(size=(7, 6)), rng.integers(0, 3, 7)
    model = twin(net, NAMES[activation])
    loss, gradient = net.gradient(x, y)
    assert loss == pytest.approx(float(model.train_on_batch(x, y)), rel=1e-4)
    assert loss == pytest.approx(net.loss(x, y))
    kernels, biases = net.views(net.w - gradient)
    expected = model.get_weights()
    np.testing.assert_allclose(kernels[0], expected[0], atol=1e-5)
    np.testing.assert_allclose(biases[1], expected[3], atol=1e-5)
    np.testing.assert_allclose(kernels[2], expected[4], atol=1e-5)


@pytest.mark.parametrize("activation", NAMES)
def test_gradient_under_masks_is_that_of_differences(mlp, activation):
    rng = np.random.default_rng(1)
    net = mlp["MLP"]((4, 5, 3), activation, rng)
    x, y = rng.normal(size=(6, 4)), rng.integers(0, 3, 6)
    masks = [2.0 * rng.integers(0, 2, (6, 5))]
    _, gradient = net.gradient(x, y, masks)
    for i in range(0, len(net.w), 7):
        losses = []
        for move in (1e-6, -2e-6):
            net.w[i] += move
            losses.append(net.gradient(x, y, masks)[0])
        net.w[i] += 1e-6
        assert gradient[i] == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-6)


TWINS = {
    "SGD": lambda: keras.optimizers.SGD(0.1),
    "Momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "Nesterov": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "AdaGrad": lambda: keras.optimizers.Adagrad(0.1, initial_accumulator_value=0.0),
    "RMSProp": lambda: keras.optimizers.RMSprop(0.1),
    "Adam": lambda: keras.optimizers.Adam(0.1),
}


@pytest.mark.parametrize("name", TWINS)
def test_an_optimizer_goes_the_path_of_keras(optimizers, name):
    curvature = np.array([1.0, 5.0], "float32")
    start = np.array([1.0, -2.0], "float32")
    variable, optimizer = keras.Variable(start), TWINS[name]()
    step, expected = optimizers["ALL"][name](), [start]
    for _ in range(10):
        gradient = keras.ops.convert_to_tensor(curvature) * variable
        optimizer.apply([gradient], [variable])
        expected.append(keras.ops.convert_to_numpy(variable).copy())
    path = optimizers["descend"](lambda w: curvature * w, start, step, 0.1, 10)
    np.testing.assert_allclose(path, expected, rtol=2e-3, atol=1e-4)


def test_a_path_that_diverges_stays_finite(optimizers):
    path = optimizers["descend"](lambda w: w, [1.0], lambda g: g, 100.0, 50)
    assert np.isfinite(path).all()


@pytest.mark.parametrize(
    ("study", "kind"),
    [("dead_relus", "PReLU"), ("batchnorm_forgives", "BatchNormMLP")],
)
def test_nets_of_single_studies_have_the_gradient_of_differences(
    study, kind, monkeypatch
):
    monkeypatch.syspath_prepend(str(STUDIES))
    rng = np.random.default_rng(2)
    net = runpy.run_path(str(STUDIES / f"{study}.py"))[kind]((4, 5, 5, 3), rng=rng)
    x, y = rng.normal(size=(6, 4)), rng.integers(0, 3, 6)
    _, gradient = net.gradient(x, y)
    for i in range(len(net.w)):
        losses = []
        for move in (1e-6, -2e-6):
            net.w[i] += move
            losses.append(net.gradient(x, y)[0])
        net.w[i] += 1e-6
        assert gradient[i] == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-6)
