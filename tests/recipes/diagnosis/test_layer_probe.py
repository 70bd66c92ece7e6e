"""The probe against NumPy, closed forms and SciPy, and on models of every make."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from hornbook.recipes.diagnosis.layer_probe import LayerProbe

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 6)).astype("float32")


def of(model, layer, *batch):
    # Keras gives paths to layers with weights alone.
    return LayerProbe(*batch)(model)[layer.path or layer.name]


def plain(*stack, loss="mse"):
    model = keras.Sequential([keras.Input((6,)), *stack])
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 1.0])
@pytest.mark.parametrize("separate", [False, True])
def test_dead_units_are_numpys(share, separate):
    dense = layers.Dense(40, activation=None if separate else "relu")
    relu = layers.ReLU() if separate else dense
    model = plain(dense, relu, layers.Dense(1)) if separate else plain(dense)
    bias = np.zeros(40)
    bias[RNG.permutation(40)[: round(40 * share)]] = -1000
    dense.bias.assign(bias)
    z = X.astype("float64") @ np.array(dense.kernel, "float64") + bias
    figures = of(model, relu, X)
    assert figures["units"] == 40
    assert figures["dead_units"] == np.all(z <= 0, axis=0).sum() >= 40 * share
    assert np.isclose(figures["zero_fraction"], (z <= 0).mean())


@pytest.mark.parametrize("make", [layers.LeakyReLU, lambda: layers.Activation("silu")])
def test_a_unit_that_leaks_is_dead_too(make):
    relu = make()
    dense = layers.Dense(5)
    model = plain(dense, relu)
    dense.bias.assign([-99, 0, 0, 99, -99])
    assert of(model, relu, X)["dead_units"] == 2


def test_a_channel_is_dead_where_it_is_at_every_place():
    conv = layers.Conv2D(8, 3, activation="relu", padding="same")
    model = keras.Sequential([keras.Input((9, 9, 2)), conv])
    x = RNG.normal(size=(16, 9, 9, 2)).astype("float32")
    conv.bias.assign([-50, -50, -50, 0, 0, 0, 0, 0])
    figures = of(model, conv, x)
    assert (figures["units"], figures["dead_units"]) == (8, 3)


def test_activations():
    dense = layers.Dense(7, activation="tanh")
    model = plain(dense, layers.Dense(2))
    dense.kernel.assign(np.array(dense.kernel) * 4)
    a = np.tanh(X.astype("float64") @ np.array(dense.kernel, "float64"))
    figures = of(model, dense, X)
    expected = {
        "activation_mean": a.mean(),
        "activation_sd": a.std(),
        "saturated_fraction": (1 - a**2 < 0.05).mean(),
        "zero_fraction": 0,
        "is_output": 0,
    }
    for name, q in zip(
        ("q02", "q25", "q50", "q75", "q98"), (2, 25, 50, 75, 98), strict=True
    ):
        expected[f"activation_{name}"] = np.percentile(a, q)
    assert 0.1 < expected["saturated_fraction"] < 0.9
    for name, value in expected.items():
        assert np.isclose(figures[name], value, atol=1e-4), name
    assert "dead_units" not in figures and "running_mean_gap" not in figures


def test_a_sigmoid_is_flat_where_its_slope_is_below_a_twentieth():
    z = np.linspace(-8, 8, 48 * 6).reshape(48, 6).astype("float32")
    layer = layers.Activation("sigmoid")
    slope = np.exp(-z) / (1 + np.exp(-z)) ** 2
    figures = of(plain(layer), layer, z)
    assert np.isclose(figures["saturated_fraction"], (slope < 0.05 / 4).mean())
    assert figures["is_output"] == 1


def test_quantiles_of_many_values_are_close_and_see_every_channel():
    layer = layers.Activation("relu")
    model = keras.Sequential([keras.Input((32, 32, 16)), layer])
    x = RNG.normal(size=(32, 32, 32, 16)).astype("float32") + np.arange(16)
    figures = of(model, layer, x.astype("float32"))
    for name, q in (("q25", 25), ("q50", 50), ("q75", 75)):
        exact = np.percentile(np.maximum(x, 0), q)
        assert abs(figures[f"activation_{name}"] - exact) < 0.15


def test_gradients_are_those_of_a_closed_form():
    dense = layers.Dense(2)
    model = plain(dense)
    y = RNG.normal(size=(48, 2)).astype("float32")
    figures = of(model, dense, X, y)
    w, b = (np.array(v, "float64") for v in dense.trainable_variables)
    error = 2 * (X @ w + b - y) / y.size  # of the mean square error
    by_w, by_b = X.T @ error, error.sum(axis=0)
    norm = np.sqrt((by_w**2).sum() + (by_b**2).sum())
    assert np.isclose(figures["gradient_norm"], norm, rtol=1e-4)
    assert np.isclose(figures["gradient_q50"], np.median(by_w), atol=1e-4)
    weighted = of(model, dense, X, y, np.arange(48, dtype="float32"))
    error *= np.arange(48)[:, None]
    norm = np.hypot(np.linalg.norm(X.T @ error), np.linalg.norm(error.sum(axis=0)))
    assert np.isclose(weighted["gradient_norm"], norm, rtol=1e-4)


def test_gradients_are_those_of_training_mode():
    # There the scale c of normalised channels gives the loss mean(c² x²), with x² of
    # mean 1; in inference x would be the input, whose mean square is 25 times that.
    norm = layers.BatchNormalization(epsilon=1e-6, center=False)
    figures = of(plain(norm), norm, 5 * X, 0 * X)
    assert np.isclose(figures["gradient_norm"], np.sqrt(6) * 2 / 6, rtol=1e-3)


def test_small_gradients_survive_half_precision():
    policy = keras.dtype_policies.DTypePolicy("mixed_float16")
    dense = layers.Dense(2, dtype=policy)
    model = plain(dense, loss=lambda y, y_pred: ops.mean(y_pred) * 1e-6)
    model.compile(
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), model.loss
    )
    figures = of(model, dense, X, X[:, :2])
    by_w = np.repeat(X.mean(axis=0)[:, None], 2, axis=1) / 2
    norm = 1e-6 * np.sqrt((by_w**2).sum() + 0.5)
    assert np.isclose(figures["gradient_norm"], norm, rtol=0.05)


def test_running_and_exact_statistics():
    norm = layers.BatchNormalization(epsilon=1e-6)
    model = plain(norm)
    figures = of(model, norm, X)
    mean, variance = X.mean(axis=0), X.var(axis=0)
    gap = np.sqrt(np.mean(mean**2 / variance))
    assert np.isclose(figures["running_mean_gap"], gap, rtol=1e-3)
    ratio = np.exp(np.mean(np.log(1 / variance)))
    assert np.isclose(figures["running_variance_ratio"], ratio, rtol=1e-3)
    norm.moving_mean.assign(mean)
    norm.moving_variance.assign(variance * 0.5)
    figures = of(model, norm, X)
    assert figures["running_mean_gap"] < 1e-4
    assert np.isclose(figures["running_variance_ratio"], 0.5, rtol=1e-3)


def test_changes_nothing():
    stack = [layers.Dense(4), layers.BatchNormalization(), layers.Dropout(0.5)]
    model = plain(*stack, layers.Dense(6))
    own = [dict(vars(layer)) for layer in model.layers]
    before = [np.array(v) for v in model.variables]
    LayerProbe(X, X)(model)
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, np.array(new))
    for old, layer in zip(own, model.layers, strict=True):
        assert old.get("call") == vars(layer).get("call")


def test_sees_new_weights_and_what_is_frozen_since():
    dense = layers.Dense(3, activation="relu")
    model = plain(dense, layers.Dense(6))
    probe = LayerProbe(X, X)
    assert probe(model)[dense.path]["dead_units"] == 0
    dense.bias.assign([-99, 0, 0])
    assert probe(model)[dense.path]["dead_units"] == 1
    assert "gradient_norm" in probe(model)[dense.path]
    dense.trainable = False
    model.compile("sgd", "mse")
    assert "gradient_norm" not in probe(model)[dense.path]
    assert probe(model)[dense.path]["dead_units"] == 1


def test_several_inputs_and_outputs_and_operations():
    words, numbers = keras.Input((5,), dtype="int32"), keras.Input((3,))
    embedding = layers.Embedding(10, 4)
    x = layers.Concatenate()([layers.Flatten()(embedding(words)), numbers])
    x = ops.relu(layers.Dense(8)(x))
    one, two = layers.Dense(2), layers.Dense(1, activation="sigmoid")
    model = keras.Model([words, numbers], [one(x), two(x)])
    model.compile("adam", ["mse", "binary_crossentropy"])
    batch = [RNG.integers(10, size=(8, 5)), np.ones((8, 3), "float32")]
    labels = [np.zeros((8, 2), "float32"), np.ones((8, 1), "float32")]
    figures = LayerProbe(batch, labels)(model)
    assert figures[two.path]["is_output"] == figures[one.path]["is_output"] == 1
    assert figures[embedding.path]["gradient_norm"] > 0
    assert sum("dead_units" in each for each in figures.values()) == 1
    assert next(iter(figures)) == embedding.path


class Inner(keras.Model):
    def __init__(self):
        super().__init__(name="inner")
        self.dense = layers.Dense(8, activation="relu")
        self.out = layers.Dense(4)

    def call(self, x):
        return self.out(self.dense(x))


def test_nested_and_subclassed_models():
    inner = Inner()
    inputs = keras.Input((6,))
    outer = keras.Model(inputs, layers.Dense(1)(layers.ReLU()(inner(inputs))))
    outer.compile("sgd", "mse")
    figures = LayerProbe(X, X[:, :1])(outer)
    assert figures[inner.dense.path]["units"] == 8
    assert figures[inner.dense.path]["gradient_norm"] > 0
    model = Inner()  # not built
    figures = LayerProbe(X)(model)
    assert figures[model.out.path]["is_output"] == 1


def test_recurrent_layers():
    lstm = layers.LSTM(4)
    loop = layers.TimeDistributed(layers.Dense(3, activation="relu"))
    model = keras.Sequential([keras.Input((5, 6)), loop, lstm, layers.Dense(1)])
    model.compile("sgd", "mse")
    x = RNG.normal(size=(8, 5, 6)).astype("float32")
    figures = LayerProbe(x, x[:, 0, :1])(model)
    assert figures[lstm.path]["activation"] is None
    assert figures[lstm.cell.path]["gradient_norm"] > 0
    assert "dead_units" not in figures[loop.path]


class Own(keras.Sequential):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **_):
        return ops.mean(ops.square(y_pred - x))


def test_a_loss_of_its_own_needs_no_labels():
    dense = layers.Dense(6)
    model = Own([keras.Input((6,)), dense])
    model.compile("sgd")
    assert of(model, dense, X)["gradient_norm"] > 0


def test_without_labels_or_loss_there_are_no_gradients():
    dense = layers.Dense(6)
    model = plain(dense)
    assert "gradient_norm" not in of(model, dense, X)
    never = keras.Sequential([keras.Input((6,)), layers.Dense(6)])
    assert "gradient_norm" not in of(never, never.layers[0], X, X)


def test_every_figure_is_listed():
    model = plain(
        layers.Dense(4, activation="relu"),
        layers.BatchNormalization(),
        layers.Dense(6, activation="tanh"),
    )
    found = {name for of in LayerProbe(X, X)(model).values() for name in of}
    assert found == set(LayerProbe.FIGURES)


@pytest.mark.parametrize("x", [[1, 2], "images", iter([X])])
def test_batches_must_be_arrays(x):
    with pytest.raises(ValueError, match="Received: x="):
        LayerProbe(x)
