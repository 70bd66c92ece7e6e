import itertools

import keras
import numpy as np
import pytest
import scipy.stats
from contract import check_config, numpy
from keras import ops

from hornbook.recipes.initializers.xavier import Xavier

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
@pytest.mark.parametrize(
    "gain, shape, variance",
    [
        (1.0, (300, 700), 1 / 500),
        ("tanh", (300, 700), 25 / 9 / 500),
        (2, (3, 5, 64, 200), 4 / (15 * 132)),
    ],
)
def test_follows_the_law(distribution, gain, shape, variance):
    w = numpy(Xavier(gain, distribution, seed=1)(shape)).ravel()
    expected = law(distribution, np.sqrt(variance))
    assert scipy.stats.kstest(w, expected.cdf).pvalue > 1e-4
    # The variance of a sample variance, from the law's fourth moment.
    error = np.sqrt((expected.moment(4) - expected.var() ** 2) / w.size)
    assert abs(w.var() - variance) < 4 * error
    assert abs(w.mean()) < 4 * np.sqrt(variance / w.size)


def test_truncated_stays_within_two_deviations():
    w = numpy(Xavier(distribution="truncated_normal", seed=0)((1000, 2000)))
    assert np.abs(w).max() <= 2 * np.sqrt(1 / 1500) / 0.8796256


@pytest.mark.parametrize("gain", ["linear", "sigmoid", "tanh", "relu", "selu"])
def test_is_that_of_torch(gain):
    import torch

    number = torch.nn.init.calculate_gain(gain)
    theirs = torch.nn.init.xavier_uniform_(torch.empty(200, 40, 3, 3), number)
    ours = numpy(Xavier(gain, "uniform", seed=0)((3, 3, 40, 200)))
    assert np.abs(ours).max() == pytest.approx(theirs.abs().max().item(), rel=1e-3)
    theirs = torch.nn.init.xavier_normal_(torch.empty(800, 500), number)
    ours = numpy(Xavier(gain, seed=0)((500, 800)))
    assert ours.std() == pytest.approx(theirs.std().item(), rel=0.01)


def test_is_that_of_keras():
    theirs = keras.initializers.GlorotUniform(seed=4)((30, 50))
    ours = Xavier(distribution="uniform", seed=4)((30, 50))
    np.testing.assert_allclose(numpy(ours), numpy(theirs), rtol=1e-5)


def test_keeps_activations_and_gradients_of_a_linear_stack():
    """Widths go up and down: each direction keeps its size over the whole stack."""
    widths = [512, 1024, 2048, 1024, 512]
    init = Xavier(seed=keras.random.SeedGenerator(0))
    kernels = [numpy(init(pair)) for pair in itertools.pairwise(widths)]
    x = y = np.random.default_rng(0).normal(size=(256, 512))
    for kernel in kernels:
        x = x @ kernel
    for kernel in reversed(kernels):
        y = y @ kernel.T
    assert 0.5 < (x**2).mean() < 2
    assert 0.5 < (y**2).mean() < 2


def test_named_axes_of_other_layouts():
    init = Xavier(seed=0, input_axes=(0, 1), output_axes=(0, 1, 3))
    variance = numpy(init((5, 5, 512, 3))).var()
    assert variance == pytest.approx(2 / (25 + 75), rel=0.03)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_dtypes(dtype, distribution):
    w = Xavier(distribution=distribution, seed=3)((400, 600), dtype=dtype)
    assert keras.backend.standardize_dtype(w.dtype) == dtype
    w = numpy(ops.cast(w, "float32"))
    assert w.var() == pytest.approx(1 / 500, rel=0.02)
    assert abs(w.mean()) < 4 * np.sqrt(1 / 500 / w.size)
    assert len(np.unique(w)) > 500


def test_seeds():
    init = Xavier(seed=7)
    first = numpy(init((8, 9)))
    np.testing.assert_array_equal(first, numpy(init((8, 9))))
    np.testing.assert_array_equal(first, numpy(Xavier(seed=7)((8, 9))))
    assert (first != numpy(Xavier(seed=8)((8, 9)))).any()
    generator = Xavier(seed=keras.random.SeedGenerator(7))
    assert (numpy(generator((8, 9))) != numpy(generator((8, 9)))).any()


def test_config():
    check_config(Xavier())
    check_config(Xavier("tanh", "uniform", 5, (0, 1), (0, 1, 3)))
    again = Xavier.from_config(Xavier(seed=keras.random.SeedGenerator(7)).get_config())
    expected = Xavier(seed=keras.random.SeedGenerator(7))((3, 4))
    np.testing.assert_array_equal(numpy(again((3, 4))), numpy(expected))


def test_saves_inside_a_model(tmp_path):
    layer = keras.layers.Dense(3, kernel_initializer=Xavier("selu", seed=2))
    model = keras.Sequential([keras.Input((4,)), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    again = loaded.layers[0].kernel_initializer
    assert isinstance(again, Xavier)
    np.testing.assert_array_equal(numpy(again((4, 3))), numpy(layer.kernel))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"gain": 0}, "Received: gain=0"),
        ({"gain": float("nan")}, "Received: gain=nan"),
        ({"gain": "gelu"}, "Received: gain=gelu"),
        ({"distribution": "cauchy"}, "Received: distribution=cauchy"),
        ({"output_axes": (0,)}, r"Received: input_axes=None, output_axes=\(0,\)"),
        ({"seed": "one"}, "Received: seed=one"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Xavier(**arguments)


@pytest.mark.parametrize("shape", [(), (5,)])
def test_refuses_what_has_no_fan(shape):
    with pytest.raises(ValueError, match="Received: shape="):
        Xavier()(shape)
