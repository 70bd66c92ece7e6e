import keras
import numpy as np
import pytest
from contract import check_layer, numpy
from sklearn.preprocessing import MinMaxScaler

from hornbook.recipes.layers.min_max_scaling import MinMaxScaling


def examples(*shape):
    return np.random.default_rng(0).normal(3, 7, shape).astype("float32")


def adapted(data, *args, **kwargs):
    layer = MinMaxScaling(*args, **kwargs)
    layer.adapt(data)
    return layer


@pytest.mark.parametrize("low, high", [(0, 1), (-1, 1), (5.0, 5.5)])
def test_is_that_of_sklearn(low, high):
    x, new = examples(50, 6)[:40], examples(50, 6)[40:]
    layer = adapted(x, feature_range=(low, high))
    peer = MinMaxScaler((low, high)).fit(x.astype("float64"))
    np.testing.assert_allclose(numpy(layer(x)), peer.transform(x), atol=1e-6)
    np.testing.assert_allclose(numpy(layer(new)), peer.transform(new), atol=1e-6)


def test_ends_are_exact():
    x = examples(1000, 5)
    y = numpy(adapted(x)(x))
    np.testing.assert_array_equal(y.min(axis=0), np.zeros(5))
    np.testing.assert_array_equal(y.max(axis=0), np.ones(5))


def test_constant_features_become_low():
    x = examples(10, 3)
    x[:, 1] = 0.1
    y = numpy(adapted(x, feature_range=(-2, 1))(x + 1))
    np.testing.assert_array_equal(y[:, 1], np.full(10, -2.0))
    assert np.isfinite(y).all()


@pytest.mark.parametrize("axis", [-1, 1, (1, 3), (-3, -2, -1), [1, -1], None])
def test_axis_has_ranges_of_its_own(axis):
    x = examples(9, 4, 5, 2)
    kept = (axis,) if isinstance(axis, int) else axis or ()
    others = tuple(i for i in range(4) if i not in kept and i - 4 not in kept)
    low, high = (f(x, axis=others, keepdims=True) for f in (np.min, np.max))
    y = numpy(adapted(x, axis)(x))
    np.testing.assert_allclose(y, (x - low) / (high - low), atol=1e-6)


class Batches(keras.utils.PyDataset):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, index):
        return self.parts[index], np.zeros(len(self.parts[index]))


def test_streams_give_what_the_array_gives():
    import tensorflow as tf

    x = examples(1000, 3, 4)
    parts = np.split(x, [1, 8, 8, 900, 903])
    streams = {
        "tensor": keras.ops.convert_to_tensor(x),
        "list": parts,
        "generator": ((part, None) for part in parts),
        "PyDataset": Batches(parts),
        "tf.data": tf.data.Dataset.from_tensor_slices((x, x[:, 0])).batch(300),
    }
    for name, stream in streams.items():
        layer = adapted(stream)
        for weight, value in (
            (layer.minimum, x.min((0, 1))),
            (layer.maximum, x.max((0, 1))),
        ):
            np.testing.assert_array_equal(numpy(weight)[0], value, err_msg=name)


def test_only_the_axes_with_ranges_need_one_size():
    small, large = examples(2, 4, 4, 3), examples(3, 8, 6, 3) - 50
    layer = adapted([small, large])
    assert tuple(layer.minimum.shape) == (1, 1, 3)
    assert float(numpy(layer(small)).max()) == 1.0
    assert float(numpy(layer(large)).min()) == 0.0


def test_integers_are_not_rounded():
    x = np.array([[0, 2**24 - 1], [255, 2**24 - 3], [51, 2**24 - 2]])
    expected = [[0.0, 1.0], [1.0, 0.0], [0.2, 0.5]]
    np.testing.assert_allclose(numpy(adapted(x)(x)), expected, atol=1e-6)


@pytest.mark.parametrize("axis", [-1, (1, 2), None])
def test_contract(axis, tmp_path):
    x = examples(20, 3, 4)
    check_layer(lambda: adapted(x, axis, (-1.0, 1.0), name="scale"), (3, 4), tmp_path)


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "bfloat16"])
def test_half_precision_rounds_only_the_output(policy):
    x = examples(30, 6) + 7e4  # beyond float16, and too coarse in bfloat16
    y = adapted(x, dtype=policy)(x)
    assert keras.backend.standardize_dtype(y.dtype) != "float32"
    y = numpy(keras.ops.cast(y, "float32"))
    np.testing.assert_allclose(y, numpy(adapted(x)(x)), atol=4e-3)


def test_weights_are_not_trainable():
    layer = adapted(examples(20, 4))
    assert layer.trainable_weights == []
    assert [tuple(each.shape) for each in layer.weights] == [(4,), (4,)]


def test_model_follows_when_adapted_again():
    x = examples(20, 4)
    layer = adapted(x)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.predict(x, verbose=0)
    layer.adapt(3 * x - 5)
    expected = numpy(adapted(3 * x - 5)(x))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"Received: a batch of shape \(5, 3\)"):
        layer.adapt(examples(5, 3))


def test_rebuilt_without_weights_is_not_taken_for_adapted():
    model = keras.Sequential([keras.Input((4,)), adapted(examples(20, 4))])
    again = keras.Sequential.from_config(model.get_config())
    x = examples(3, 4)
    assert np.isnan(again.predict(x, verbose=0)).all()
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(numpy(again(x)), numpy(model(x)), rtol=1e-6)


def test_refuses_use_before_adapt():
    with pytest.raises(ValueError, match=r"adapt.*Received: input_shape=\(3, 4\)"):
        MinMaxScaling()(np.ones((3, 4), "float32"))
    with pytest.raises(ValueError, match=r"Received: input_shape=\(None, 4\)"):
        keras.Sequential([keras.Input((4,)), MinMaxScaling()])


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 4)])
def test_refuses_other_shapes_in_the_call(shape):
    with pytest.raises(ValueError, match="expected"):
        adapted(examples(20, 4))(examples(*shape))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"feature_range": (1, 1.0)}, r"Received: feature_range=\(1, 1\.0\)"),
        ({"feature_range": [3, 2]}, r"Received: feature_range=\[3, 2\]"),
        ({"feature_range": (0.0, float("inf"))}, r"feature_range=\(0\.0, inf\)"),
        ({"feature_range": (float("nan"), 1)}, r"feature_range=\(nan, 1\)"),
        ({"feature_range": (0, 1, 2)}, r"feature_range=\(0, 1, 2\)"),
        ({"feature_range": 1}, "Received: feature_range=1"),
        ({"axis": 0}, "Received: axis=0"),
        ({"axis": (1, 0)}, r"Received: axis=\(1, 0\)"),
        ({"axis": 1.5}, "Received: axis=1.5"),
        ({"axis": "last"}, "Received: axis=last"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        MinMaxScaling(**arguments)


@pytest.mark.parametrize(
    "data, axis, message",
    [
        (np.full((3, 2), np.nan), -1, "Received: NaN or infinity"),
        (np.array([[1.0], [-np.inf]]), -1, "Received: NaN or infinity"),
        (np.ones(5), -1, r"Received: axis=-1, shape=\(5,\)"),
        (np.ones((5, 3)), 2, r"Received: axis=2, shape=\(5, 3\)"),
        (np.ones((5, 3)), -2, r"Received: axis=-2, shape=\(5, 3\)"),
        ([np.ones((5, 4)), np.ones((5, 3))], -1, r"a batch of shape \(5, 3\)"),
        ([np.ones((5, 1)), np.ones((5, 3))], -1, r"a batch of shape \(5, 3\)"),
        ([np.ones((5, 4)), np.ones((5, 3, 4))], -1, r"a batch of shape \(5, 3, 4\)"),
        ([], -1, "Received: none"),
        (np.ones((0, 4)), -1, "Received: none"),
    ],
)
def test_adapt_refuses(data, axis, message):
    layer = MinMaxScaling(axis)
    with pytest.raises(ValueError, match=message):
        layer.adapt(data)
    assert not layer.built
