import keras
import numpy as np
import pytest
import scipy.stats
from contract import check_fit, check_layer, numpy
from keras import layers, ops

from hornbook.recipes.layers.drop_connect import DropConnect


def dense(shape, rate, seed=0, **arguments):
    """A wrapped linear layer of ones: the identity as input shows its mask."""
    layer = layers.Dense(shape[1], use_bias=False, kernel_initializer="ones")
    wrapped = DropConnect(layer, rate, seed=seed, **arguments)
    wrapped.build((None, shape[0]))
    return wrapped


def kept(outputs, rate):
    """Outputs of kernels of ones, as 0 and 1."""
    outputs = numpy(outputs)
    ones = np.isclose(outputs, 1 / (1 - rate), rtol=1e-5)
    assert (ones | (outputs == 0)).all()
    return ones


@pytest.mark.parametrize("rate", [0.002, 0.3, 0.5, 0.77])
def test_rate_by_a_binomial_test(rate):
    layer = dense((500, 400), rate)
    mask = kept(layer(np.eye(500, dtype="float32"), training=True), rate)
    dropped = int(mask.size - mask.sum())
    assert scipy.stats.binomtest(dropped, mask.size, rate).pvalue > 1e-3
    # Rows and columns too: their counts have the spread of a binomial, no more.
    for axis in (0, 1):
        counts, n = mask.sum(axis), mask.shape[axis]
        spread = ((counts - n * (1 - rate)) ** 2).sum() / (n * rate * (1 - rate))
        assert 1e-3 < scipy.stats.chi2(len(counts)).cdf(spread) < 1 - 1e-3


def test_weights_from_one_random_word_are_independent():
    """The four that share a word lie a quarter of the last axis apart."""
    rate = 0.3
    layer, x = dense((500, 400), rate), np.eye(500, dtype="float32")
    mask = np.concatenate([kept(layer(x, training=True), rate) for _ in range(2)])
    lanes = mask.reshape(1000, 4, 100).swapaxes(0, 1).reshape(4, -1)
    correlations = np.corrcoef(lanes)[np.triu_indices(4, 1)]
    assert (np.abs(correlations) < 4 / np.sqrt(lanes.shape[1]) + 0.004).all()


def test_mean_over_masks_is_the_kernel():
    rate, copies, calls = 0.3, 100, 100
    kernel = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    layer = DropConnect(layers.Dense(5 * copies, use_bias=False), rate, seed=1)
    layer.build((None, 6))
    layer.layer.kernel.assign(np.tile(kernel, (1, copies)))
    identity = np.eye(6, dtype="float32")
    masked = np.stack([numpy(layer(identity, training=True)) for _ in range(calls)])
    masked = masked.reshape(calls, 6, copies, 5)
    error = np.abs(kernel) * np.sqrt(rate / (1 - rate) / (calls * copies))
    assert (np.abs(masked.mean((0, 2)) - kernel) < 4 * error).all()


def test_masks_differ_between_steps_and_repeat_with_the_seed():
    x = np.eye(30, dtype="float32")
    layer, again, other = (dense((30, 40), 0.5, seed=seed) for seed in (3, 3, 4))
    first, second = (kept(layer(x, training=True), 0.5) for _ in range(2))
    assert 0.4 < (first != second).mean() < 0.6
    np.testing.assert_array_equal(first, kept(again(x, training=True), 0.5))
    np.testing.assert_array_equal(second, kept(again(x, training=True), 0.5))
    assert (first != kept(other(x, training=True), 0.5)).any()


def test_one_mask_a_batch():
    layer = dense((30, 40), 0.5)
    x = np.broadcast_to(np.eye(30, dtype="float32"), (9, 30, 30))
    masks = kept(layer(x, training=True), 0.5)
    np.testing.assert_array_equal(masks, np.broadcast_to(masks[:1], masks.shape))


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.8])
def test_one_mask_an_example(rate):
    examples, rows, columns = 200, 30, 40
    layer = dense((rows, columns), rate, per_example=True)
    x = np.broadcast_to(np.eye(rows, dtype="float32"), (examples, rows, rows))
    masks = kept(layer(x, training=True), rate).reshape(examples, -1)
    assert len(np.unique(masks, axis=0)) == examples
    # Within an example, the law is the paper's: independent weights.
    spread = (masks.sum(1) - masks.shape[1] * (1 - rate)) / np.sqrt(
        masks.shape[1] * rate * (1 - rate)
    )
    assert 0.7 < np.sqrt((spread**2).mean()) < 1.4
    # Between examples, the correlation is the documented one.
    standard = (masks - (1 - rate)) / np.sqrt(rate * (1 - rate))
    products = standard @ standard.T / masks.shape[1]
    correlation = products[np.triu_indices(examples, 1)].mean()
    p, q = min(rate, 1 - rate), max(rate, 1 - rate)
    assert correlation == pytest.approx((1 - p / q) / 2, abs=0.05)


def test_masks_of_examples_average_to_the_kernel_and_to_its_variance():
    """At 0.5 examples are uncorrelated: a batch averages as independent masks do."""
    kernel = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")
    x = np.random.default_rng(1).normal(size=(8,)).astype("float32")
    layer = DropConnect(layers.Dense(5, use_bias=False), per_example=True, seed=0)
    layer.build((None, 8))
    layer.layer.kernel.assign(kernel)
    batch = np.broadcast_to(x, (512, 8))
    y = np.stack([numpy(layer(batch, training=True)) for _ in range(40)])
    variance = x**2 @ kernel**2
    error = np.sqrt(variance / (512 * 40))
    assert (np.abs(y.mean((0, 1)) - x @ kernel) < 4 * error).all()
    np.testing.assert_allclose(y.var((0, 1)), variance, rtol=0.1)
    np.testing.assert_allclose(y.mean(1).var(0) * 512, variance, rtol=1.0)


BATCH = 64  # In each test, so that JAX compiles an operation once.
CASES = {
    "Dense": (lambda: layers.Dense(5, "relu"), (7,)),
    "Dense of rank 3": (lambda: layers.Dense(5), (3, 7)),
    "EinsumDense": (
        lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 5), "relu", "de"),
        (3, 7),
    ),
    "EinsumDense ...": (
        lambda: layers.EinsumDense("...x,xy->...y", 5, bias_axes="y"),
        (2, 3, 7),
    ),
    "Conv1D": (
        lambda: layers.Conv1D(5, 3, padding="causal", activation="tanh"),
        (8, 2),
    ),
    "Conv2D": (lambda: layers.Conv2D(4, 2, strides=2, activation="relu"), (6, 8, 2)),
    "Conv3D": (lambda: layers.Conv3D(2, 2), (4, 5, 4, 2)),
    "DepthwiseConv1D": (lambda: layers.DepthwiseConv1D(3, depth_multiplier=2), (8, 3)),
    "DepthwiseConv2D": (
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu"),
        (7, 6, 3),
    ),
    "SeparableConv2D": (lambda: layers.SeparableConv2D(4, 3), (7, 6, 3)),
    "LSTM": (lambda: layers.LSTM(4, return_sequences=True), (6, 3)),
    "GRU": (lambda: layers.GRU(4, return_sequences=True), (6, 3)),
}
LINEAR = [n for n in CASES if "Dense" in n or n.startswith(("Conv", "Depthwise"))]
QUICK = ("Dense of rank 3", "EinsumDense ...", "Conv2D", "SeparableConv2D", "LSTM")


def every(names, with_bias):
    """Each kind of layer, and some with their biases dropped; most are slow in sum."""
    pairs = [(name, False) for name in names] + [(name, True) for name in with_bias]
    quick = [(name, drop_bias) for name, drop_bias in pairs if name in QUICK]
    slow = [pair for pair in pairs if pair not in quick]
    return [*quick, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in slow)]


def spying(layer):
    """Makes the layer tell with which kernels and biases it was called."""
    seen, call = [], layer.call

    def spy(*args, **kwargs):
        seen.append([numpy(v.value) for v in layer.trainable_variables])
        return call(*args, **kwargs)

    layer.call = spy
    return seen


@pytest.mark.parametrize("name, drop_bias", every(CASES, ["LSTM", "Dense"]))
def test_is_the_layer_with_masked_kernels(name, drop_bias):
    make, shape = CASES[name]
    rate = 0.4
    layer = DropConnect(make(), rate, drop_bias=drop_bias, seed=1)
    x = np.random.default_rng(0).normal(size=(BATCH, *shape)).astype("float32")
    layer.build(x.shape)
    rng = np.random.default_rng(1)
    plain = [rng.normal(size=v.shape).astype("float32") for v in layer.layer.weights]
    layer.layer.set_weights(plain)
    np.testing.assert_array_equal(numpy(layer(x)), numpy(layer.layer(x)))
    inner = layer.layer.call
    seen = spying(layer.layer)
    y = numpy(layer(x, training=True))
    layer.layer.call = inner
    assert len(seen) == 1
    for v, before, used in zip(layer.layer.weights, plain, seen[0], strict=True):
        if v.name.endswith("kernel") or (drop_bias and v.name.endswith("bias")):
            mask = used / before
            ones = np.isclose(mask, 1 / (1 - rate), rtol=1e-4)
            assert (ones | (mask == 0)).all()
        else:
            np.testing.assert_array_equal(used, before)
    dropped = sum((u == 0).sum() for u in seen[0])
    assert 0 < dropped < sum(u.size for u in seen[0])
    # The same layer with these very weights, set for good: one mask a sequence.
    layer.layer.set_weights(seen[0])
    expected = numpy(layer(x, training=False))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, drop_bias", every(LINEAR, ["Conv2D", "Dense"]))
def test_each_example_drops_whole_weights(name, drop_bias):
    """Kernels of ones, an input with a single one: an output is one weight or none."""
    make, shape = CASES[name]
    rate = 0.4
    layer = DropConnect(make(), rate, per_example=True, drop_bias=drop_bias, seed=1)
    layer.build((None, *shape))
    layer.layer.activation = keras.activations.linear
    for v in layer.layer.weights:
        v.assign(np.full(v.shape, 10.0 if v.name == "bias" else 1.0))
    x = np.zeros(shape, "float32")
    x[tuple(n // 2 for n in shape)] = 1
    y = numpy(layer(np.broadcast_to(x, (BATCH, *shape)), training=True))
    scale = 1 / (1 - rate)
    biases = [0.0, 10 * scale] if drop_bias else [10.0]
    levels = np.array([b + w for b in biases for w in (0.0, scale)])
    distance = np.abs(y[..., None] - levels)
    assert distance.min(-1).max() < 1e-4
    # The outputs that the input reaches, by the plain layer.
    reached = numpy(layer(x[None]))[0] != 10
    on = distance.argmin(-1)[:, reached] % 2
    # One example has few weights, so count the examples, which differ.
    assert len(np.unique(on, axis=0)) > 1
    correlation = (1 - rate / (1 - rate)) / 2
    n = reached.sum()
    error = np.sqrt(rate * (1 - rate) / n * (correlation + 1 / BATCH))
    assert abs(1 - on.mean() - rate) < 4 * error


def test_an_example_keeps_its_mask_at_every_place_of_an_image():
    layer = DropConnect(layers.Conv2D(32, 3, use_bias=False), per_example=True, seed=0)
    x = np.zeros((5, 12, 12, 2), "float32")
    x[:, 3, 3, 0] = x[:, 8, 8, 0] = 1
    y = numpy(layer(x, training=True))
    np.testing.assert_allclose(y[:, 1:4, 1:4], y[:, 6:9, 6:9], rtol=1e-5)
    assert len(np.unique((y[:, 1:4, 1:4] != 0).reshape(5, -1), axis=0)) == 5


def test_per_example_finds_the_channels_first():
    layer = DropConnect(
        layers.Conv1D(16, 1, use_bias=False, data_format="channels_first"),
        per_example=True,
        seed=0,
    )
    y = numpy(layer(np.ones((7, 8, 6), "float32"), training=True))
    np.testing.assert_allclose(y, np.repeat(y[:, :, :1], 6, axis=2), rtol=1e-5)
    assert len(np.unique(y[:, :, 0], axis=0)) == 7


def relu_of_gaussian(mean, stddev):
    z = mean / stddev
    return mean * scipy.stats.norm.cdf(z) + stddev * scipy.stats.norm.pdf(z)


@pytest.mark.parametrize("drop_bias", [False, True])
def test_gaussian_inference(drop_bias):
    rate = 0.4
    layer = DropConnect(
        layers.Dense(6, "relu"), rate, drop_bias=drop_bias, inference="gaussian"
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 300)).astype("float32")
    w = rng.normal(size=(300, 6)).astype("float32")
    b = rng.normal(size=6).astype("float32") * 10
    layer.build(x.shape)
    layer.layer.set_weights([w, b])
    y = numpy(layer(x))
    # The formula.
    variance = x**2 @ w**2 + (b**2 if drop_bias else 0)
    stddev = np.sqrt(variance * rate / (1 - rate))
    expected = relu_of_gaussian(x @ w + b, stddev)
    assert (np.abs(y - expected) < 0.004 * stddev).all()
    # Sampling masks, as in training.
    samples = np.zeros((2000, *y.shape))
    for sample in samples:
        masked = w * (rng.random(w.shape) > rate) / (1 - rate)
        bias = b * (rng.random(6) > rate) / (1 - rate) if drop_bias else b
        sample[:] = np.maximum(x @ masked + bias, 0)
    mean = samples.mean(0)
    assert (np.abs(y - mean) < 0.02 * stddev + 4 * samples.std(0) / 2000**0.5).all()
    # The mean kernel alone would be off where the input is near the kink.
    assert np.abs(np.maximum(x @ w + b, 0) - mean).max() > 5 * np.abs(y - mean).max()


@pytest.mark.parametrize("name", LINEAR)
def test_gaussian_has_the_moments_of_the_masks(name):
    """The mean of a square is mean² + variance, so it shows both exactly."""
    make, shape = CASES[name]
    inner = make()
    inner.activation = ops.square
    rate = 0.3
    layer = DropConnect(inner, rate, inference="gaussian")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, *shape)).astype("float32")
    layer.build(x.shape)
    for v in inner.weights:
        v.assign(rng.normal(size=v.shape))
    y = numpy(layer(x))
    inner.activation = keras.activations.linear
    mean = numpy(inner(x))
    # The variances of the terms, one weight at a time.
    kernel, variance = numpy(inner.kernel), 0
    for v in inner.weights[1:]:
        v.assign(np.zeros(v.shape))
    for index in np.ndindex(kernel.shape):
        alone = np.zeros_like(kernel)
        alone[index] = kernel[index]
        inner.kernel.assign(alone)
        variance = variance + numpy(inner(x)) ** 2 * rate / (1 - rate)
    np.testing.assert_allclose(y, mean**2 + variance, rtol=1e-3, atol=1e-4)


def test_gaussian_inference_has_a_finite_gradient_at_zero():
    layer = DropConnect(layers.Dense(3, "relu"), inference="gaussian")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), layer])
    layer.trainable = False
    y = numpy(model(np.zeros((2, 4), "float32"), training=False))
    np.testing.assert_allclose(y, 0, atol=1e-3)


def test_contract(tmp_path):
    def make():
        return DropConnect(
            layers.Dense(5, "relu", name="inner"),
            0.2,
            per_example=True,
            drop_bias=True,
            inference="gaussian",
            seed=0,
            name="outer",
        )

    check_layer(make, (7,), tmp_path)


def test_fits_a_recurrent_layer():
    x = np.random.default_rng(0).normal(size=(8, 6, 3)).astype("float32")
    check_fit(DropConnect(layers.LSTM(4, dropout=0.1), 0.2), x)


@pytest.mark.parametrize("per_example", [False, True])
def test_masks_change_in_a_compiled_step(per_example):
    layer = DropConnect(layers.Dense(8), per_example=per_example, seed=0)
    model = keras.Sequential([keras.Input((16,)), layer])
    jit = keras.backend.backend() == "tensorflow"
    model.compile(
        optimizer=keras.optimizers.SGD(0.0), loss="mse", jit_compile=jit or "auto"
    )
    x, y = np.ones((4, 16), "float32"), np.ones((4, 8), "float32")
    losses = {float(model.train_on_batch(x, y)) for _ in range(4)}
    assert len(losses) == 4
    assert np.isfinite(list(losses)).all()


def test_losses_count_once_and_see_the_whole_kernel():
    inner = layers.Dense(
        5,
        kernel_regularizer=keras.regularizers.L2(1.0),
        activity_regularizer=keras.regularizers.L1(1.0),
    )
    layer = DropConnect(inner, seed=0)
    model = keras.Sequential([keras.Input((3,)), layer])
    x = np.ones((2, 3), "float32")
    y = numpy(model(x, training=True))
    expected = (numpy(inner.kernel) ** 2).sum() + np.abs(y).sum() / 2
    assert sum(float(numpy(v)) for v in model.losses) == pytest.approx(expected)
    y, _, losses = model.stateless_call(
        [v.value for v in model.trainable_variables],
        [v.value for v in model.non_trainable_variables],
        x,
        training=True,
        return_losses=True,
    )
    expected = (numpy(inner.kernel) ** 2).sum() + np.abs(numpy(y)).sum() / 2
    assert sum(float(numpy(v)) for v in losses) == pytest.approx(expected)


def test_state_of_the_layer_moves_on():
    inner = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4), layers.BatchNormalization()]
    )
    layer = DropConnect(inner, seed=0)
    before = [numpy(v) for v in inner.non_trainable_variables]
    layer(np.random.default_rng(0).normal(size=(9, 3)).astype("float32"), training=True)
    after = [numpy(v) for v in inner.non_trainable_variables]
    assert all((a != b).any() for a, b in zip(before, after, strict=True))


def test_masks_of_sequences_reach_the_layer():
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    mask = np.array([[True] * 3 + [False] * 2] * 2)
    outputs = []
    for inputs in (keras.layers.Masking()(x * mask[..., None]), x[:, :3]):
        layer = DropConnect(layers.LSTM(4, kernel_initializer="ones"), seed=0)
        layer.build(x.shape)
        layer.layer.cell.recurrent_kernel.assign(np.full((4, 16), 0.1))
        outputs.append(numpy(layer(inputs, training=True)))
    np.testing.assert_allclose(*outputs, rtol=1e-5)


@pytest.mark.parametrize(
    "dtype, per_example", [("mixed_float16", False), ("bfloat16", True)]
)
def test_low_precision(dtype, per_example):
    inner = layers.Dense(32, "relu", dtype=dtype)
    layer = DropConnect(inner, 0.3, per_example=per_example, inference="gaussian")
    assert layer.compute_dtype == inner.compute_dtype
    x = np.ones((4, 64), "float32")
    for training in (False, True):
        y = layer(x, training=training)
        assert keras.backend.standardize_dtype(y.dtype) == inner.compute_dtype
        assert np.isfinite(numpy(ops.cast(y, "float32"))).all()


@pytest.mark.parametrize(
    "layer, arguments, message",
    [
        (layers.Dense(3), {"rate": 1.0}, "Received: rate=1.0"),
        (layers.Dense(3), {"rate": -0.1}, "Received: rate=-0.1"),
        (layers.Dense(3), {"inference": "map"}, "Received: inference=map"),
        (layers.Dense(3), {"inference": "gaussian"}, "Received: activation=linear"),
        (
            layers.Dense(3, "softmax"),
            {"inference": "gaussian"},
            "Received: activation=softmax",
        ),
        (layers.LSTM(3), {"per_example": True}, "Received: layer=<LSTM"),
        (
            layers.SeparableConv2D(3, 2),
            {"inference": "gaussian"},
            "Received: layer=<Sep",
        ),
        (
            layers.Dense(3, activity_regularizer="l2"),
            {"per_example": True},
            "Received: layer=<Dense",
        ),
    ],
)
def test_refuses(layer, arguments, message):
    with pytest.raises(ValueError, match=message):
        DropConnect(layer, **arguments)


def test_refuses_a_layer_without_kernel():
    with pytest.raises(ValueError, match="Received: layer=<LayerNormalization"):
        DropConnect(layers.LayerNormalization())(np.ones((2, 3), "float32"))


def test_rate_zero_is_the_layer():
    layer = DropConnect(layers.Dense(3), 0.0, per_example=True)
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(numpy(layer(x, training=True)), numpy(layer.layer(x)))
