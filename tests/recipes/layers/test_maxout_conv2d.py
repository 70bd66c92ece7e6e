import keras
import numpy as np
import pytest
from contract import check_layer, numpy

from hornbook.recipes.layers.maxout_conv2d import MaxoutConv2D


def convolve(x, kernel, bias, stride, dilation, padding):
    """A convolution in NumPy, tap by tap, channels last."""
    (rows, columns), stride = kernel.shape[:2], np.array(stride)
    span = np.array([rows - 1, columns - 1]) * dilation
    size = np.array(x.shape[1:3])
    if padding == "same":
        out = -(-size // stride)
        missing = np.maximum((out - 1) * stride + span + 1 - size, 0)
        before = missing // 2
        x = np.pad(x, [(0, 0), *zip(before, missing - before, strict=True), (0, 0)])
    else:
        out = (size - span - 1) // stride + 1
    y = np.zeros((len(x), *out, kernel.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            top, left = i * dilation[0], j * dilation[1]
            part = x[:, top :: stride[0], left :: stride[1]][:, : out[0], : out[1]]
            y += part @ kernel[i, j]
    return y + bias


@pytest.mark.parametrize(
    "size, pieces, strides, padding, dilation",
    [
        ((3, 3), 2, (1, 1), "valid", (1, 1)),
        ((3, 3), 3, (1, 1), "same", (1, 1)),
        ((2, 5), 2, (2, 3), "same", (1, 1)),
        ((3, 2), 2, (2, 1), "valid", (1, 1)),
        ((3, 3), 2, (1, 1), "same", (2, 3)),
        ((1, 1), 1, (1, 1), "valid", (1, 1)),
    ],
)
def test_is_the_formula(size, pieces, strides, padding, dilation):
    x = np.random.default_rng(0).normal(size=(2, 11, 13, 3)).astype("float32")
    layer = MaxoutConv2D(
        4,
        size,
        pieces,
        strides,
        padding,
        dilation_rate=dilation,
        bias_initializer="normal",
    )
    y = numpy(layer(x))
    kernels = np.split(numpy(layer.kernel), pieces, axis=-1)
    biases = np.split(numpy(layer.bias), pieces)
    expected = np.max(
        [
            convolve(x, k, b, strides, dilation, padding)
            for k, b in zip(kernels, biases, strict=True)
        ],
        axis=0,
    )
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    assert layer.compute_output_shape(x.shape) == y.shape


def test_channels_first_is_channels_last_moved():
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 9)).astype("float32")
    first = MaxoutConv2D(4, 3, data_format="channels_first", bias_initializer="normal")
    last = MaxoutConv2D(4, 3, data_format="channels_last")
    y = numpy(first(x))
    last.build((None, 8, 9, 3))
    last.set_weights(first.get_weights())
    moved = numpy(last(np.moveaxis(x, 1, -1)))
    np.testing.assert_allclose(y, np.moveaxis(moved, -1, 1), rtol=1e-4, atol=1e-5)
    assert first.compute_output_shape((None, 3, None, 9)) == (None, 4, None, 7)


def test_has_pieces_times_the_weights_of_conv2d():
    layer, conv = MaxoutConv2D(10, 3, pieces=3), keras.layers.Conv2D(10, 3)
    layer.build((None, 8, 8, 5))
    conv.build((None, 8, 8, 5))
    assert layer.count_params() == 3 * conv.count_params()


@pytest.mark.parametrize("seed", [5, None, "generator"])
def test_each_piece_starts_as_its_own_conv2d(seed):
    if seed == "generator":
        seed = keras.random.SeedGenerator(5)
    init = keras.initializers.GlorotUniform(seed=seed)
    layer = MaxoutConv2D(64, 3, pieces=3, kernel_initializer=init)
    layer.build((None, 8, 8, 32))
    pieces = np.split(numpy(layer.kernel), 3, axis=-1)
    for i, piece in enumerate(pieces):
        bound = np.sqrt(6 / (9 * (32 + 64)))
        assert np.abs(piece).max() == pytest.approx(bound, rel=0.01)
        for other in pieces[:i]:
            assert abs(np.corrcoef(piece.ravel(), other.ravel())[0, 1]) < 0.03


def test_regularizers_and_constraints():
    layer = MaxoutConv2D(
        3,
        2,
        kernel_regularizer=keras.regularizers.L2(0.5),
        bias_regularizer=keras.regularizers.L1(2.0),
        bias_initializer="ones",
        kernel_constraint=keras.constraints.MaxNorm(0.1, axis=[0, 1, 2]),
    )
    layer(np.ones((2, 5, 5, 4), "float32"))
    kernel = numpy(layer.kernel)
    expected = 0.5 * (kernel**2).sum() + 2.0 * 6
    assert sum(float(numpy(loss)) for loss in layer.losses) == pytest.approx(
        expected, rel=1e-5
    )
    bounded = numpy(layer.kernel.constraint(layer.kernel))
    norms = np.sqrt((bounded**2).sum((0, 1, 2)))
    np.testing.assert_allclose(norms, 0.1, rtol=1e-4)


def test_contract(tmp_path):
    def make():
        return MaxoutConv2D(4, 3, 3, strides=2, padding="same", name="maxout")

    check_layer(make, (9, 7, 2), tmp_path)


def test_config_keeps_every_argument(tmp_path):
    def make():
        return MaxoutConv2D(
            4,
            (3, 2),
            dilation_rate=2,
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer="l2",
            activity_regularizer="l1",
            kernel_constraint="non_neg",
            name="maxout",
        )

    config = make().get_config()
    assert MaxoutConv2D.from_config(config).get_config() == config
    check_layer(make, (6, 7, 2), tmp_path)


def test_takes_images_of_unknown_size():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, MaxoutConv2D(4, 3, strides=2)(inputs))
    assert model.output_shape == (None, None, None, 4)
    assert numpy(model(np.ones((2, 9, 12, 3), "float32"))).shape == (2, 4, 5, 4)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"filters": 0}, "Received: filters=0"),
        ({"pieces": 1.5}, "Received: pieces=1.5"),
        ({"kernel_size": 0}, "Received: kernel_size=0"),
        ({"kernel_size": (3, 3, 3)}, r"Received: kernel_size=\(3, 3, 3\)"),
        ({"strides": (1, 0)}, r"Received: strides=\(1, 0\)"),
        ({"padding": "causal"}, "Received: padding=causal"),
        ({"data_format": "NHWC"}, "Received: data_format=NHWC"),
        ({"strides": 2, "dilation_rate": 2}, "Received: strides=2, dilation_rate=2"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaxoutConv2D(**{"filters": 4, "kernel_size": 3, **arguments})


def test_refuses_inputs_smaller_than_the_window():
    with pytest.raises(ValueError, match=r"Received: input_shape=\(None, 2, 9, 1\)"):
        MaxoutConv2D(4, 3)(keras.Input((2, 9, 1)))
