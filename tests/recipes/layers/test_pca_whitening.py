import tracemalloc

import keras
import numpy as np
import pytest
from contract import check_layer, numpy
from sklearn.decomposition import PCA

from hornbook.recipes.layers.pca_whitening import PCAWhitening


def correlated(examples, features, seed=0):
    """Examples of mixed features whose mean drifts from first to last."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(features, features)) + 3 * np.eye(features)
    drift = np.linspace(0, 2, examples)[:, None] * rng.normal(size=features)
    x = rng.normal(size=(examples, features)) @ mixing + drift
    return x.astype("float32")


def adapted(data, *args, **kwargs):
    layer = PCAWhitening(*args, **kwargs)
    layer.adapt(data)
    return layer


def weights(layer):
    return [numpy(each) for each in (layer.mean, layer.kernel, layer.bias)]


@pytest.mark.parametrize("n_components", [None, 3, 0.8])
@pytest.mark.parametrize("shape", [(200, 8), (6000, 64)])  # one block, two blocks
def test_is_that_of_sklearn(shape, n_components):
    x = correlated(*shape)
    layer = adapted(x, n_components, epsilon=1e-12)
    peer = PCA(n_components, whiten=True, svd_solver="full").fit(x.astype("float64"))
    assert layer.kept == peer.n_components_
    np.testing.assert_allclose(numpy(layer.mean), peer.mean_, rtol=1e-5, atol=1e-6)
    expected = peer.transform(x[:100].astype("float64"))
    np.testing.assert_allclose(numpy(layer(x[:100])), expected, atol=2e-3)


def test_covariance_is_the_identity():
    x = correlated(2000, 30)
    white = numpy(adapted(x)(x)).astype("float64")
    np.testing.assert_allclose(np.cov(white.T), np.eye(30), atol=1e-4)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-4)


def test_axes_are_those_of_centred_data():
    # Without centring first, the way to the mean would pass for the first component.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 1)) * [1.0, -1.0] + 0.1 * rng.normal(size=(500, 2)) + 50
    first = numpy(adapted(x, 1).kernel)[:, 0]
    first /= np.linalg.norm(first)
    np.testing.assert_allclose(np.abs(first), 0.707, atol=0.01)
    assert first[0] * first[1] < 0


def test_epsilon_damps():
    x = correlated(500, 6)
    variances = np.linalg.eigvalsh(np.cov(x.T.astype("float64")))[::-1]
    white = numpy(adapted(x, epsilon=2.0)(x))
    expected = np.diag(variances / (variances + 2.0))
    np.testing.assert_allclose(np.cov(white.T), expected, atol=1e-4)


def test_constant_features_become_zeros():
    x = correlated(300, 5)
    x[:, [1, 4]] = [0.1, -1e6]
    white = numpy(adapted(x)(x))
    np.testing.assert_allclose(np.cov(white.T), np.diag([1, 1, 1, 0, 0]), atol=1e-4)
    same = np.full((50, 3), 0.1)
    np.testing.assert_allclose(numpy(adapted(same, 0.9)(same)), 0, atol=1e-5)


def test_offset_costs_no_precision():
    # Float64 sums of squares, as of scikit-learn's covariance solver, lose all of it.
    x = (correlated(6000, 64) / 17 + 1e6).astype("float32")
    layer = adapted(x, 20)
    peer = PCA(20, whiten=True, svd_solver="full").fit(x.astype("float64"))
    expected = peer.transform(x.astype("float64"))
    np.testing.assert_allclose(numpy(layer(x)), expected, atol=1e-3)


class Batches(keras.utils.PyDataset):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, index):
        return self.parts[index], np.zeros(len(self.parts[index]))


def streams(x):
    """The same examples, in all forms that `adapt` takes."""
    import tensorflow as tf

    parts = np.split(x, [1, 8, 8, 900, 903])
    dataset = tf.data.Dataset.from_tensor_slices((x, x[:, 0]))
    return {
        "tensor": keras.ops.convert_to_tensor(x),
        "strided": np.asfortranarray(x),
        "list": parts,
        "generator": ((part, None) for part in parts),
        "PyDataset": Batches(parts),
        "tf.data": dataset.batch(300),
    }


def test_streams_give_what_the_array_gives():
    x = correlated(6000, 64)
    expected = weights(adapted(x, 0.9))
    for name, stream in streams(x).items():
        for weight, same in zip(weights(adapted(stream, 0.9)), expected, strict=True):
            np.testing.assert_array_equal(weight, same, err_msg=name)


def test_memory_does_not_grow_with_the_data():
    part = correlated(2000, 64)

    def peak(parts):
        tracemalloc.start()
        adapted(part for _ in range(parts))
        _, size = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size

    peak(1)
    assert peak(15) < 1.05 * peak(5)


def test_takes_images_and_integers():
    x = np.random.default_rng(0).integers(0, 256, (300, 4, 3, 2), dtype="uint8")
    layer = adapted(x, 5)
    white = numpy(layer(x))
    assert white.shape == (300, 5)
    flat = x.reshape(300, 24).astype("float32")
    np.testing.assert_allclose(white, numpy(adapted(flat, 5)(flat)), atol=1e-5)


@pytest.mark.parametrize("n_components", [None, 0.9])
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_contract(shape, n_components, tmp_path):
    x = correlated(100, 6).reshape(100, *shape)
    check_layer(lambda: adapted(x, n_components, name="white"), shape, tmp_path)


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "bfloat16"])
def test_half_precision_rounds_only_the_output(policy):
    x = correlated(300, 6) + 7e4  # beyond float16, and too coarse in bfloat16
    expected = numpy(adapted(x)(x))
    white = adapted(x, dtype=policy)(x)
    assert keras.backend.standardize_dtype(white.dtype) != "float32"
    white = numpy(keras.ops.cast(white, "float32"))
    np.testing.assert_allclose(white, expected, rtol=1e-2, atol=1e-2)


def test_weights_are_not_trainable():
    layer = adapted(correlated(50, 4), 2)
    assert layer.trainable_weights == []
    assert [tuple(each.shape) for each in layer.weights] == [(4,), (4, 2), (2,)]


def test_model_follows_when_adapted_again():
    first, second = correlated(200, 4, seed=1), correlated(300, 4, seed=2)
    layer = adapted(first, 2)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.predict(first, verbose=0)
    layer.adapt(second)
    expected = numpy(adapted(second, 2)(second))
    np.testing.assert_allclose(model.predict(second, verbose=0), expected, atol=1e-4)
    with pytest.raises(ValueError, match=r"Received: 2 components of \(5,\)"):
        layer.adapt(correlated(50, 5))


def test_rebuilt_without_weights_is_not_taken_for_adapted():
    model = keras.Sequential([keras.Input((4,)), adapted(correlated(50, 4), 0.9)])
    again = keras.Sequential.from_config(model.get_config())
    x = correlated(3, 4)
    assert np.isnan(again.predict(x, verbose=0)).all()
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(numpy(again(x)), numpy(model(x)), rtol=1e-6)


def test_refuses_use_before_adapt():
    with pytest.raises(ValueError, match=r"adapt.*Received: input_shape=\(3, 4\)"):
        PCAWhitening()(np.ones((3, 4), "float32"))
    with pytest.raises(ValueError, match=r"Received: input_shape=\(None, 4\)"):
        keras.Sequential([keras.Input((4,)), PCAWhitening(2)])


def test_refuses_other_shapes_in_the_call():
    with pytest.raises(ValueError, match="expected shape"):
        adapted(correlated(50, 4))(np.ones((2, 5), "float32"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_components": 0}, "Received: n_components=0"),
        ({"n_components": 1.0}, "Received: n_components=1.0"),
        ({"n_components": True}, "Received: n_components=True"),
        ({"n_components": "mle"}, "Received: n_components=mle"),
        ({"epsilon": 0}, "Received: epsilon=0"),
        ({"epsilon": float("nan")}, "Received: epsilon=nan"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        PCAWhitening(**arguments)


NAN = np.where(np.eye(10), np.nan, 1.0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "data, message",
    [
        (correlated(4, 6), "Received: 4 examples of 6 features"),
        (correlated(50, 2), "Received: 50 examples of 2 features"),
        (correlated(3, 4), "Received: 3 examples of 4 features"),
        (NAN, "Received: NaN or infinity among examples 0 to 9"),
        (np.where(np.isnan(NAN), np.inf, 1), "Received: NaN or infinity"),
        (np.ones(5), r"Received: a batch of shape \(5,\)"),
        ([np.ones((5, 4)), np.ones((5, 3))], r"Received: a batch of shape \(5, 3\)"),
        ([], "Received: 0"),
        (np.ones((0, 4)), "Received: 0"),
        (np.ones((1, 4)), "Received: 1"),
        (np.ones((4, 0)), r"Received: a batch of shape \(4, 0\)"),
    ],
)
def test_adapt_refuses(data, message):
    layer = PCAWhitening(4 if len(data) == 4 else 3)
    with pytest.raises(ValueError, match=message):
        layer.adapt(data)
    assert not layer.built
