import keras
import numpy as np
import pytest
from contract import check_layer, numpy
from keras import ops

from hornbook.recipes.layers.maxout import Maxout


def maxout(x, kernel, bias, units):
    """The formula, piece by piece, in NumPy."""
    pieces = [
        x @ kernel[:, start : start + units] + bias[start : start + units]
        for start in range(0, kernel.shape[1], units)
    ]
    return np.max(pieces, axis=0)


@pytest.mark.parametrize("pieces", [1, 2, 5])
@pytest.mark.parametrize("shape", [(4, 6), (3, 5, 6), (2, 3, 4, 6)])
def test_is_the_formula(pieces, shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = Maxout(7, pieces, bias_initializer="normal")
    y = numpy(layer(x))
    expected = maxout(x, numpy(layer.kernel), numpy(layer.bias), 7)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_takes_two_unknown_axes():
    inputs = keras.Input((None, 6))
    model = keras.Model(inputs, Maxout(7)(inputs))
    assert model.output_shape == (None, None, 7)
    assert model.predict(np.ones((2, 3, 6)), verbose=0).shape == (2, 3, 7)


def test_one_piece_of_zeros_is_relu():
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    layer = Maxout(4, use_bias=False)
    layer.build(x.shape)
    kernel = numpy(layer.kernel).copy()
    kernel[:, 4:] = 0
    layer.kernel.assign(kernel)
    np.testing.assert_allclose(
        numpy(layer(x)), np.maximum(x @ kernel[:, :4], 0), rtol=1e-5, atol=1e-6
    )


def test_has_pieces_times_the_weights_of_dense():
    layer, dense = Maxout(10, pieces=3), keras.layers.Dense(10)
    layer.build((None, 20))
    dense.build((None, 20))
    assert layer.count_params() == 3 * dense.count_params()


@pytest.mark.parametrize("seed", [5, None, "generator"])
def test_each_piece_starts_as_its_own_dense(seed):
    if seed == "generator":
        seed = keras.random.SeedGenerator(5)
    init = keras.initializers.GlorotUniform(seed=seed)
    layer = Maxout(200, pieces=3, kernel_initializer=init)
    layer.build((None, 100))
    pieces = np.split(numpy(layer.kernel), 3, axis=1)
    for i, piece in enumerate(pieces):
        # fan_out is 200, not 600: the bound would be smaller by a factor of 1.5.
        assert np.abs(piece).max() == pytest.approx(np.sqrt(6 / 300), rel=0.01)
        for other in pieces[:i]:
            assert abs(np.corrcoef(piece.ravel(), other.ravel())[0, 1]) < 0.03


def test_first_piece_has_the_values_of_dense():
    init = keras.initializers.GlorotUniform(seed=5)
    layer = Maxout(4, kernel_initializer=init)
    dense = keras.layers.Dense(4, kernel_initializer=init)
    layer.build((None, 3))
    dense.build((None, 3))
    np.testing.assert_array_equal(numpy(layer.kernel)[:, :4], numpy(dense.kernel))


def test_initializer_may_be_a_function():
    layer = Maxout(2, kernel_initializer=lambda shape, dtype: ops.full(shape, 3, dtype))
    layer.build((None, 4))
    np.testing.assert_array_equal(numpy(layer.kernel), np.full((4, 4), 3.0))


def test_regularizers_and_constraints():
    layer = Maxout(
        3,
        kernel_regularizer=keras.regularizers.L2(0.5),
        bias_regularizer=keras.regularizers.L1(2.0),
        bias_initializer="ones",
        kernel_constraint=keras.constraints.MaxNorm(0.1, axis=0),
        activity_regularizer=keras.regularizers.L1(1.0),
    )
    x = np.ones((2, 5), "float32")
    y = numpy(layer(x))
    kernel = numpy(layer.kernel)
    expected = 0.5 * (kernel**2).sum() + 2.0 * 6 + np.abs(y).sum() / 2
    assert sum(float(numpy(loss)) for loss in layer.losses) == pytest.approx(
        expected, rel=1e-5
    )
    norms = np.linalg.norm(numpy(layer.kernel.constraint(layer.kernel)), axis=0)
    assert norms.shape == (6,)
    np.testing.assert_allclose(norms, 0.1, rtol=1e-4)


@pytest.mark.parametrize("shape", [(6,), (5, 6)])
def test_contract(shape, tmp_path):
    check_layer(lambda: Maxout(4, pieces=3, name="maxout"), shape, tmp_path)


def test_config_keeps_every_argument(tmp_path):
    def make():
        return Maxout(
            4,
            3,
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer="l2",
            activity_regularizer="l1",
            kernel_constraint="non_neg",
            name="maxout",
        )

    config = make().get_config()
    assert Maxout.from_config(config).get_config() == config
    check_layer(make, (6,), tmp_path)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0,), "Received: units=0"),
        ((2.0,), "Received: units=2.0"),
        ((4, 0), "Received: pieces=0"),
        ((4, "two"), "Received: pieces=two"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Maxout(*arguments)


def test_refuses_rank_one():
    with pytest.raises(ValueError, match="min_ndim=2"):
        Maxout(3)(np.ones(4, "float32"))
