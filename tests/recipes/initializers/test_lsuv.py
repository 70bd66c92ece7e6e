import keras
import numpy as np
import pytest
from contract import numpy

from hornbook.recipes.initializers.lsuv import lsuv

X = np.random.default_rng(0).normal(1.0, 4.0, size=(128, 24)).astype("float32")
IMAGES = np.random.default_rng(1).uniform(size=(24, 10, 10, 3)).astype("float32")


def deep(depth, units=32):
    relu = [keras.layers.Dense(units, activation="relu") for _ in range(depth)]
    head = keras.layers.Dense(10, activation="softmax")
    return keras.Sequential([keras.Input((24,)), *relu, head])


def variances(model, x):
    """The variance before each activation of a stack of dense layers, by NumPy."""
    found, x = [], x.astype("float64")
    for layer in model.layers:
        x = x @ numpy(layer.kernel) + numpy(layer.bias)
        found.append(x.var())
        x = np.maximum(x, 0)
    return np.array(found)


def test_deep_relu_network():
    keras.utils.set_random_seed(0)
    model = deep(16)
    assert variances(model, X)[-1] < 1e-3  # as Keras starts it, the signal fades
    report = lsuv(model, X, seed=0)
    np.testing.assert_allclose(variances(model, X), 1, atol=0.01)
    assert [path for path, _, _ in report] == [layer.path for layer in model.layers]
    assert {iterations for _, _, iterations in report} == {1}
    for layer, (_, scale, _) in zip(model.layers, report, strict=True):
        rows, columns = layer.kernel.shape
        w = numpy(layer.kernel).astype("float64") / scale
        w = w if rows >= columns else w.T
        np.testing.assert_allclose(w.T @ w, np.eye(w.shape[1]), atol=1e-5)
    # On other data of the kind, the variance stays near.
    other = np.random.default_rng(9).normal(1.0, 4.0, size=(128, 24))
    assert np.abs(variances(model, other) - 1).max() < 0.3


@pytest.mark.parametrize("activation", ["tanh", "elu"])
def test_any_activation(activation):
    model = keras.Sequential([keras.Input((24,))])
    for _ in range(3):
        model.add(keras.layers.Dense(32, activation=activation))
    lsuv(model, X, seed=0)
    x = X.astype("float64")
    for layer in model.layers:
        x = x @ numpy(layer.kernel)
        assert abs(x.var() - 1) < 0.05
        x = numpy(layer.activation(x.astype("float32"))).astype("float64")


class Inner(keras.layers.Layer):
    """A layer that holds layers, and makes them in another order than it calls."""

    def __init__(self):
        super().__init__(name="inner")
        self.last = keras.layers.Conv2D(6, 1, name="last")
        self.first = keras.layers.Conv2D(5, 3, activation="relu", name="first")

    def call(self, x):
        return self.last(self.first(x))


def zoo():
    """Every kind of layer with a kernel, norms, a nested model, a shared layer."""
    inputs = keras.Input((10, 10, 3))
    x = keras.layers.Conv2D(8, 3, activation=keras.layers.PReLU(), name="conv")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
    x = keras.layers.SeparableConv2D(7, 3, activation="relu", name="separable")(x)
    block = keras.Sequential([keras.layers.Conv2DTranspose(6, 2, name="transpose")])
    x = Inner()(block(x))
    x = keras.layers.Reshape((-1, 6))(x)
    x = keras.layers.LayerNormalization()(x)
    x = keras.layers.EinsumDense("abc,cd->abd", (None, 5), name="einsum")(x)
    shared = keras.layers.Dense(5, name="shared")
    x = shared(shared(x))
    x = keras.layers.SimpleRNN(4, name="rnn")(x)
    x = keras.layers.Dropout(0.9)(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


def test_every_kind_of_layer():
    model = zoo()
    model(IMAGES)  # an activation that is a layer is built when it is called
    kernels = {v.path: numpy(v).copy() for v in model.weights}
    seen = {}

    def watch(layer):
        """Keeps the first output before the activation, where that can be undone."""
        call = layer.call

        def watched(*args, **kwargs):
            activation, layer.activation = layer.activation, None
            seen.setdefault(layer.path, numpy(call(*args, **kwargs)))
            layer.activation = activation
            return call(*args, **kwargs)

        layer.call = watched

    report = lsuv(model, IMAGES, seed=0)
    names = [path.rpartition("/")[2] for path, _, _ in report]
    assert names[:6] == ["conv", "depthwise", "separable", "transpose", "first", "last"]
    assert names[6:8] == ["einsum", "shared"]
    assert len(names) == 9
    assert all("call" not in vars(layer) for layer in model._flatten_layers())

    for layer in model._flatten_layers():
        if layer.path in {path for path, _, _ in report} - {"conv"}:
            watch(layer)
    model(IMAGES, training=False)
    assert len(seen) == 8
    for path, y in seen.items():
        assert abs(y.astype("float64").var() - 1) < 0.05, path

    # Biases, norms, slopes and recurrent layers are as they were.
    for v in model.weights:
        mine = v.name.endswith("kernel") and "rnn" not in v.path
        assert (numpy(v) != kernels[v.path]).any() == mine, v.path


def test_an_activation_that_is_a_layer_stays():
    slopes = keras.layers.PReLU(alpha_initializer=keras.initializers.Constant(0.5))
    layer = keras.layers.Dense(16, activation=slopes)
    model = keras.Sequential([keras.Input((24,)), layer, keras.layers.Dense(8)])
    model(X)
    weights = len(model.weights)
    lsuv(model, X, seed=0)
    assert layer.activation is slopes
    assert len(model.weights) == weights
    x = X.astype("float64") @ numpy(layer.kernel)
    assert abs(x.var() - 1) < 0.05
    x = np.where(x > 0, x, 0.5 * x) @ numpy(model.layers[-1].kernel)
    assert abs(x.var() - 1) < 0.05


def test_biases_take_more_than_one_division():
    layer = keras.layers.Dense(64)
    model = keras.Sequential([keras.Input((24,)), layer])
    layer.bias.assign(np.linspace(-1, 1, 64))
    ((_, _, iterations),) = lsuv(model, X, seed=0)
    assert iterations > 1
    assert abs(variances(model, X)[0] - 1) <= 0.01
    layer.bias.assign(np.linspace(-9, 9, 64))
    with pytest.raises(ValueError, match=r"10 iterations.*Received: variance="):
        lsuv(model, X, seed=0)


def test_frozen_layers_are_left_alone():
    model = deep(3)
    for layer in model.layers[:2]:
        layer.trainable = False
    before = [numpy(layer.kernel).copy() for layer in model.layers]
    assert len(lsuv(model, X, seed=0)) == 2
    changed = [
        (numpy(layer.kernel) != w).any()
        for layer, w in zip(model.layers, before, strict=True)
    ]
    assert changed == [False, False, True, True]
    np.testing.assert_allclose(variances(model, X)[2:], 1, atol=0.01)


def test_seeds():
    def kernels(seed):
        model = deep(3)
        lsuv(model, X, seed=seed)
        return [numpy(layer.kernel) for layer in model.layers]

    first = kernels(0)
    for a, b in zip(first, kernels(0), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != kernels(1)[0]).any()
    assert (first[1] != first[2]).any()


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16"])
def test_precisions(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = deep(3)
    finally:
        keras.config.set_dtype_policy("float32")
    lsuv(model, X, seed=0)
    np.testing.assert_allclose(variances_low(model), 1, atol=0.05)


def variances_low(model):
    x, found = X.astype("float64"), []
    for layer in model.layers:
        x = x @ numpy(layer.kernel).astype("float64")
        found.append(x.var())
        x = np.maximum(x, 0)
    return found


def test_trains_afterwards():
    model = deep(4)
    lsuv(model, X, seed=0)
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    history = model.fit(X, np.arange(128) % 10, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_refuses():
    with pytest.raises(ValueError, match="Received: model="):
        lsuv(keras.Sequential([keras.Input((24,)), keras.layers.ReLU()]), X)
    with pytest.raises(ValueError, match=r"kernel.*Received: variance=0"):
        lsuv(deep(2), np.zeros_like(X))
    with pytest.raises(ValueError, match=r"kernel.*Received: variance=nan"):
        lsuv(deep(2), np.full_like(X, np.nan))
