import keras
import numpy as np
import pytest
import scipy.stats
from contract import check_config, numpy
from keras import ops

from hornbook.recipes.initializers.kaiming import Kaiming

DISTRIBUTIONS = ("normal", "truncated_normal", "uniform")


def law(distribution, stddev):
    """The distribution that the weights should follow, from SciPy."""
    if distribution == "uniform":
        bound = np.sqrt(3) * stddev
        return scipy.stats.uniform(-bound, 2 * bound)
    if distribution == "normal":
        return scipy.stats.norm(0, stddev)
    wider = stddev / scipy.stats.truncnorm(-2, 2).std()
    return scipy.stats.truncnorm(-2, 2, scale=wider)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_follows_the_law(distribution):
    w = numpy(Kaiming(distribution=distribution, seed=1)((300, 700))).ravel()
    expected = law(distribution, np.sqrt(2 / 300))
    assert scipy.stats.kstest(w, expected.cdf).pvalue > 1e-4
    # The variance of a sample variance, from the law's fourth moment.
    error = np.sqrt((expected.moment(4) - expected.var() ** 2) / w.size)
    assert abs(w.var() - 2 / 300) < 4 * error
    assert abs(w.mean()) < 4 * np.sqrt(2 / 300 / w.size)


@pytest.mark.parametrize(
    "mode, shape, n",
    [
        ("fan_in", (300, 700), 300),
        ("fan_out", (300, 700), 700),
        ("fan_avg", (300, 700), 500),
        ("fan_in", (3, 5, 64, 200), 15 * 64),
        ("fan_out", (3, 5, 64, 200), 15 * 200),
        ("fan_avg", (3, 5, 64, 200), 15 * 132),
    ],
)
def test_fans(mode, shape, n):
    w = numpy(Kaiming(mode, seed=1)(shape))
    assert abs(w.var() * n / 2 - 1) < 4 * np.sqrt(2 / w.size)


def test_truncated_stays_within_two_deviations():
    w = numpy(Kaiming(distribution="truncated_normal", seed=0)((1000, 2000)))
    assert np.abs(w).max() <= 2 * np.sqrt(2 / 1000) / 0.8796256


@pytest.mark.parametrize(
    "nonlinearity, slope",
    [
        ("linear", None),
        ("sigmoid", None),
        ("tanh", None),
        ("relu", None),
        ("selu", None),
        ("leaky_relu", 0.0),
        ("leaky_relu", 0.2),
        ("leaky_relu", np.sqrt(5)),
    ],
)
def test_gains_are_those_of_torch(nonlinearity, slope):
    import torch

    expected = torch.nn.init.calculate_gain(nonlinearity, slope)
    init = Kaiming(nonlinearity=nonlinearity, negative_slope=slope, seed=0)
    assert init.gain == pytest.approx(expected, rel=1e-12)
    assert numpy(init((500, 800))).std() == pytest.approx(
        expected / np.sqrt(500), rel=0.01
    )


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_bound_is_that_of_torch(mode):
    import torch

    theirs = torch.nn.init.kaiming_uniform_(torch.empty(200, 40, 3, 3), 0.1, mode)
    init = Kaiming(mode, "leaky_relu", 0.1, distribution="uniform", seed=0)
    ours = numpy(init((3, 3, 40, 200)))
    assert np.abs(ours).max() == pytest.approx(theirs.abs().max().item(), rel=1e-3)


def mean_square_after(layers, init, width=2048, examples=32):
    x = np.random.default_rng(0).normal(size=(examples, width)).astype("float32")
    for _ in range(layers):
        x = np.maximum(x @ numpy(init((width, width))), 0)
    return float((x**2).mean())


def test_thirty_relu_layers_keep_the_signal():
    init = Kaiming(seed=keras.random.SeedGenerator(0))
    assert 0.5 < mean_square_after(30, init) < 2


def test_one_over_n_loses_the_signal():
    init = Kaiming(nonlinearity="linear", seed=keras.random.SeedGenerator(0))
    assert mean_square_after(30, init) < 1e-6


def test_named_axes_of_other_layouts():
    depthwise = Kaiming(seed=0, input_axes=(0, 1), output_axes=(0, 1, 3))
    assert numpy(depthwise((5, 5, 512, 4))).var() == pytest.approx(2 / 25, rel=0.02)
    transposed = Kaiming(seed=0, input_axes=(0, 1, 3), output_axes=(0, 1, 2))
    variance = numpy(transposed((3, 3, 64, 128))).var()
    assert variance == pytest.approx(2 / (9 * 128), rel=0.02)


def test_einsum_dense_tells_its_axes_as_it_does_to_keras_initializers():
    def variance(init):
        layer = keras.layers.EinsumDense(
            "abc,cde->abde", (None, 8, 64), kernel_initializer=init
        )
        layer.build((None, 10, 256))
        return numpy(layer.kernel).var()

    theirs = keras.initializers.HeNormal(seed=1)
    assert variance(Kaiming(seed=0)) == pytest.approx(variance(theirs), rel=0.02)
    named = Kaiming(seed=0, input_axes=(0,), output_axes=(1, 2))
    assert variance(named) == pytest.approx(2 / 256, rel=0.02)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_dtypes(dtype, distribution):
    w = Kaiming(distribution=distribution, seed=3)((400, 600), dtype=dtype)
    assert keras.backend.standardize_dtype(w.dtype) == dtype
    w = numpy(ops.cast(w, "float32"))
    assert w.var() == pytest.approx(2 / 400, rel=0.02)
    assert abs(w.mean()) < 4 * np.sqrt(2 / 400 / w.size)
    assert len(np.unique(w)) > 500


def test_seeds():
    init = Kaiming(seed=7)
    first = numpy(init((8, 9)))
    np.testing.assert_array_equal(first, numpy(init((8, 9))))
    np.testing.assert_array_equal(first, numpy(Kaiming(seed=7)((8, 9))))
    assert (first != numpy(Kaiming(seed=8)((8, 9)))).any()
    generator = Kaiming(seed=keras.random.SeedGenerator(7))
    assert (numpy(generator((8, 9))) != numpy(generator((8, 9)))).any()


def test_config():
    check_config(Kaiming())
    check_config(Kaiming("fan_avg", "leaky_relu", 0.3, "uniform", 5, (0, 1), (0, 1, 3)))
    again = Kaiming.from_config(
        Kaiming(seed=keras.random.SeedGenerator(7)).get_config()
    )
    expected = Kaiming(seed=keras.random.SeedGenerator(7))((3, 4))
    np.testing.assert_array_equal(numpy(again((3, 4))), numpy(expected))


def test_saves_inside_a_model(tmp_path):
    init = Kaiming(nonlinearity="selu", seed=2)
    layer = keras.layers.Dense(3, kernel_initializer=init)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    again = loaded.layers[0].kernel_initializer
    assert isinstance(again, Kaiming)
    np.testing.assert_array_equal(numpy(again((4, 3))), numpy(layer.kernel))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"mode": "fan"}, "Received: mode=fan"),
        ({"distribution": "cauchy"}, "Received: distribution=cauchy"),
        ({"nonlinearity": "gelu"}, "Received: nonlinearity=gelu"),
        ({"nonlinearity": "leaky_relu"}, "negative_slope=None"),
        ({"negative_slope": 0.1}, "Received: nonlinearity=relu, negative_slope=0.1"),
        ({"input_axes": (0,)}, r"Received: input_axes=\(0,\), output_axes=None"),
        ({"seed": "one"}, "Received: seed=one"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Kaiming(**arguments)


@pytest.mark.parametrize("shape", [(), (5,)])
def test_refuses_what_has_no_fan(shape):
    with pytest.raises(ValueError, match="Received: shape="):
        Kaiming()(shape)
