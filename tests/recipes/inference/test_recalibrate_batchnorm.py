import copy

import keras
import numpy as np
import pytest
from contract import numpy
from keras import ops

from hornbook.recipes.inference.recalibrate_batchnorm import recalibrate_batchnorm

BatchNorm = keras.layers.BatchNormalization
SIZES = (40, 40, 16)  # few shapes: JAX compiles each operation for each
X = (np.random.default_rng(0).gamma(2.0, size=(sum(SIZES), 5)) * 3 - 1).astype(
    "float32"
)
BATCHES = np.split(X, np.cumsum(SIZES)[:-1])
IMAGES = np.random.default_rng(1).gamma(2.0, size=(20, 6, 6, 3)).astype("float32")


def norms(layer):
    """Its BatchNorm layers, in the order in which they were made."""
    found = {v.path: v for v in layer.weights if v.name.startswith("moving")}
    return list(found.values())


def statistics(model):
    return [numpy(v).copy() for v in norms(model)]


def dense_model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(8, bias_initializer="normal"),
            BatchNorm(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(6),
            BatchNorm(epsilon=0.01),
            keras.layers.ReLU(),
            keras.layers.Dense(4),
            BatchNorm(scale=False),
        ]
    )


def dense_truth(model, x):
    """Means and variances through `dense_model`, in NumPy alone."""
    found, x = [], x.astype("float64")
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            x = x @ numpy(layer.kernel) + numpy(layer.bias)
        elif isinstance(layer, keras.layers.ReLU):
            x = np.maximum(x, 0)
        elif isinstance(layer, BatchNorm):
            found += [x.mean(0), x.var(0)]
            x = (x - x.mean(0)) / np.sqrt(x.var(0) + layer.epsilon)
            x = x * (numpy(layer.gamma) if layer.scale else 1) + numpy(layer.beta)
    return found


def assert_close(found, expected, rtol=1e-5):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)


def assert_exact(model, x):
    """Inference is now what training would do with all data as one batch."""
    # A step of training with momentum 0 leaves the whole batch's statistics behind.
    exact = statistics(model)
    inferred = numpy(model(x, training=False))
    trained = numpy(model(x, training=True))
    np.testing.assert_allclose(inferred, trained, rtol=1e-4, atol=1e-4)
    for v, value in zip(norms(model), exact, strict=True):
        v.assign(value)


@pytest.mark.parametrize("data", [X, BATCHES], ids=["array", "unequal batches"])
def test_statistics_of_the_whole_set(data):
    model = dense_model()
    recalibrate_batchnorm(model, data, batch_size=40)
    assert_close(statistics(model), dense_truth(model, X))


def trained_model():
    model = dense_model()
    model.compile(keras.optimizers.SGD(0.05), "mse")
    y = X[:, :4] ** 2 / 10
    model.fit(X, y, batch_size=32, epochs=3, verbose=0)
    return model


def test_after_training_running_averages_are_off_and_the_gap_is_told():
    model = trained_model()
    running = statistics(model)
    exact = dense_truth(model, X)
    paths = [layer.path for layer in model.layers if isinstance(layer, BatchNorm)]
    gaps = recalibrate_batchnorm(model, BATCHES)
    assert_close(statistics(model), exact)
    assert [path for path, _, _ in gaps] == paths
    epsilons = [layer.epsilon for layer in model.layers if isinstance(layer, BatchNorm)]
    for i, (_, mean_gap, variance_gap) in enumerate(gaps):
        mean, variance = exact[2 * i : 2 * i + 2]
        scale = variance + epsilons[i]
        expected = np.max(np.abs(running[2 * i] - mean) / np.sqrt(scale))
        assert mean_gap == pytest.approx(expected, rel=1e-4)
        expected = np.max(np.abs(running[2 * i + 1] - variance) / scale)
        assert variance_gap == pytest.approx(expected, rel=1e-4)
        assert max(mean_gap, variance_gap) > 0.1

    again = recalibrate_batchnorm(model, X)
    assert max(gap for _, *both in again for gap in both) < 1e-5


def test_the_mean_of_batch_variances_is_too_small():
    model = keras.Sequential([keras.Input((5,)), BatchNorm()])
    batches = np.split(np.sort(X, axis=0), np.cumsum(SIZES)[:-1])
    recalibrate_batchnorm(model, batches)
    variance = statistics(model)[1]
    weights = np.array(SIZES) / sum(SIZES)
    within = weights @ [b.var(0, dtype="float64") for b in batches]
    means = np.array([b.mean(0, dtype="float64") for b in batches])
    between = weights @ (means - weights @ means) ** 2
    np.testing.assert_allclose(variance, within + between, rtol=1e-5)
    assert (within < 0.8 * variance).all()
    unweighted = np.mean([b.var(0) for b in batches], 0) + means.var(0)
    assert (np.abs(unweighted / variance - 1) > 0.01).any()


def test_layers_at_once_are_not_layers_in_order():
    model = dense_model()
    once = keras.Model(model.inputs[0], [x.input for x in model.layers])
    stale = [numpy(x) for x in once(X)]
    stale = [
        x.mean(0)
        for x, layer in zip(stale, model.layers, strict=True)
        if isinstance(layer, BatchNorm)
    ]
    recalibrate_batchnorm(model, X)
    exact = statistics(model)[::2]
    np.testing.assert_allclose(stale[0], exact[0], rtol=1e-4, atol=1e-5)
    assert np.abs(stale[1] - exact[1]).max() > 0.1


def test_large_means_keep_their_small_variances():
    x = (1000 + np.random.default_rng(0).normal(size=(4000, 3))).astype("float32")
    model = keras.Sequential([keras.Input((3,)), BatchNorm()])
    recalibrate_batchnorm(model, x, batch_size=100)
    mean, variance = statistics(model)
    np.testing.assert_allclose(variance, x.var(0, dtype="float64"), rtol=1e-5)
    np.testing.assert_allclose(mean, x.mean(0, dtype="float64"), rtol=1e-6)
    naive = np.mean(x**2, axis=0) - np.mean(x, axis=0) ** 2
    assert np.abs(naive / variance - 1).max() > 1e-2


# Models of every kind.


def conv(filters, name):
    return keras.layers.Conv2D(filters, 3, padding="same", name=name)


class Block(keras.layers.Layer):
    """A layer that holds layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.convs = [conv(4, "a"), conv(4, "b")]
        self.norms = {"a": BatchNorm(), "b": BatchNorm()}

    def call(self, x):
        for layer, norm in zip(self.convs, self.norms.values(), strict=True):
            x = ops.relu(norm(layer(x)))
        return x


class Subclassed(keras.Model):
    """Calls its layers in another order than it makes them."""

    def __init__(self):
        super().__init__()
        self.last = BatchNorm()
        self.unused = BatchNorm()
        self.block = Block()
        self.first = BatchNorm()

    def call(self, x):
        return self.last(self.block(self.first(x)))


def nested():
    """A residual network within a model, and the same names twice."""

    def tower(filters):
        inputs = keras.Input((6, 6, filters))
        x = BatchNorm(name="norm")(conv(4, "conv")(inputs))
        x = keras.layers.add([BatchNorm(name="short")(conv(4, "down")(inputs)), x])
        return keras.Model(inputs, ops.relu(x), name=f"tower_{filters}")

    inputs = keras.Input((6, 6, 3))
    x = tower(4)(tower(3)(inputs))
    x = Block()(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def siamese():
    """One norm for two inputs: it is called twice."""
    norm, layer = BatchNorm(), conv(4, "conv")
    inputs = keras.Input((6, 6, 3))
    flipped = ops.negative(inputs) * 2
    outputs = [norm(layer(inputs)), norm(layer(flipped))]
    return keras.Model(inputs, keras.layers.concatenate(outputs))


@pytest.mark.parametrize("make", [nested, Subclassed])
def test_every_kind_of_model(make):
    keras.utils.set_random_seed(0)
    model = make()
    batches = np.split(IMAGES, [12])
    gaps = recalibrate_batchnorm(model, batches)
    assert len(gaps) == {nested: 6, Subclassed: 4}[make]
    assert_exact(model, IMAGES)
    for each in model._flatten_layers():
        assert "call" not in vars(each)


def test_a_layer_called_twice_has_the_statistics_of_both():
    keras.utils.set_random_seed(0)
    model = siamese()
    ((_, mean_gap, _),) = recalibrate_batchnorm(model, IMAGES, batch_size=12)
    layer = model.get_layer("conv")
    both = np.concatenate([numpy(layer(IMAGES)), numpy(layer(-2 * IMAGES))])
    both = both.reshape(-1, 4).astype("float64")
    assert_close(statistics(model), [both.mean(0), both.var(0)])
    assert mean_gap > 0


def test_channels_first():
    model = keras.Sequential([keras.Input((6, 6, 3)), BatchNorm(axis=1)])
    recalibrate_batchnorm(model, IMAGES)
    x = IMAGES.astype("float64")
    assert_close(statistics(model), [x.mean((0, 2, 3)), x.var((0, 2, 3))])


def test_masked_steps_are_left_out():
    x = np.random.default_rng(0).normal(3, 2, size=(10, 7, 4)).astype("float32")
    x[:3, 2:] = 0
    x[3] = 0
    model = keras.Sequential([keras.Input((7, 4)), keras.layers.Masking(), BatchNorm()])
    recalibrate_batchnorm(model, [x[:3], x[3:4], x[4:]])  # one has no step at all
    with pytest.raises(ValueError, match=r"gets no inputs.*Received: data="):
        recalibrate_batchnorm(model, x[3:4])
    kept = x[np.any(x != 0, axis=-1)].astype("float64")
    assert_close(statistics(model), [kept.mean(0), kept.var(0)])


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = dense_model()
    finally:
        keras.config.set_dtype_policy("float32")
    recalibrate_batchnorm(model, X)
    assert_close(statistics(model), dense_truth(model, X), rtol=2e-2)
    assert {numpy(v).dtype for v in norms(model)} == {np.dtype("float32")}


def test_after_averaging_weights_and_in_a_compiled_model():
    one, two = trained_model(), dense_model()
    two.set_weights([w + 0.1 for w in one.get_weights()])
    average = [
        (a + b) / 2 for a, b in zip(one.get_weights(), two.get_weights(), strict=1)
    ]
    one.set_weights(average)
    before = one.predict(X, verbose=0)
    recalibrate_batchnorm(one, X)
    assert_close(statistics(one), dense_truth(one, X))
    after = one.predict(X, verbose=0)
    np.testing.assert_allclose(after, numpy(one(X, training=False)), atol=1e-5)
    assert np.abs(after - before).max() > 0.1


def test_frozen_layers_are_set_and_nothing_else_changes():
    model = dense_model()
    model.trainable = False
    before = [numpy(v).copy() for v in model.weights]
    recalibrate_batchnorm(model, X)
    for v, old in zip(model.weights, before, strict=True):
        assert (numpy(v) != old).any() == v.name.startswith("moving")


# Data of every kind.


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return len(BATCHES)

    def __getitem__(self, index):
        return BATCHES[index], np.zeros(len(BATCHES[index]))


def tf_data():
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((X, X[:, 0], X[:, 1])).batch(40)


def torch_loader():
    import torch.utils.data

    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.tensor(X)), 40
    )


@pytest.mark.parametrize(
    "data",
    [
        lambda: [(x, None) for x in BATCHES],
        lambda: ops.convert_to_tensor(X),
        Batches,
        tf_data,
        torch_loader,
    ],
)
def test_data(data):
    model = dense_model()
    recalibrate_batchnorm(model, data())
    assert_close(statistics(model), dense_truth(model, X))


def test_dict_of_inputs():
    inputs = {"a": keras.Input((5,), name="a"), "b": keras.Input((5,), name="b")}
    outputs = BatchNorm()(keras.layers.concatenate([inputs["a"], inputs["b"]]))
    model = keras.Model(inputs, outputs)
    both = np.concatenate([X, 2 * X], axis=1).astype("float64")
    for data in ({"a": X, "b": 2 * X}, [({"a": b, "b": 2 * b}, None) for b in BATCHES]):
        model.layers[-1].moving_mean.assign(np.zeros(10))
        recalibrate_batchnorm(model, data, batch_size=40)
        assert_close(statistics(model), [both.mean(0), both.var(0)])


@pytest.mark.parametrize("bad", [float("nan"), "shape"])
def test_after_an_error_all_is_as_it_was(bad):
    model = trained_model()
    before = copy.deepcopy(statistics(model))
    batches = [X[:40], X[40:80]]
    if bad == "shape":
        batches.append(X[:, :3])
    else:
        model.layers[4].bias.assign(np.full(6, bad))  # after the first norm
    with pytest.raises(ValueError):
        recalibrate_batchnorm(model, batches)
    for a, b in zip(statistics(model), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all("call" not in vars(layer) for layer in model.layers)


def test_refuses():
    model = dense_model()
    with pytest.raises(ValueError, match=r"only once.*Received: data=<gen"):
        recalibrate_batchnorm(model, (x for x in BATCHES))
    for data in ([], X[:0]):
        with pytest.raises(ValueError, match=r"no data.*Received: model=.*data="):
            recalibrate_batchnorm(model, data)
    plain = keras.Sequential([keras.Input((5,)), keras.layers.LayerNormalization()])
    with pytest.raises(ValueError, match=r"no BatchNorm.*Received: model="):
        recalibrate_batchnorm(plain, X)
