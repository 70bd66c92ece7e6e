import tracemalloc

import keras
import numpy as np
import pytest
import scipy.linalg
from contract import check_layer, numpy
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from hornbook.recipes.layers.lda_projection import LDAProjection


def classes(examples, features, number, seed=0):
    """Correlated classes of unequal size, in the order of their labels."""
    rng = np.random.default_rng(seed)
    y = np.sort(rng.integers(0, number, examples) * rng.integers(0, 2, examples))
    mixing = rng.normal(size=(features, features)) + 3 * np.eye(features)
    x = rng.normal(size=(examples, features)) + rng.normal(size=(number, features))[y]
    return (x @ mixing).astype("float32"), y


def adapted(data, *args, **kwargs):
    layer = LDAProjection(*args, **kwargs)
    layer.adapt(*data)
    return layer


def weights(layer):
    return [numpy(each) for each in (layer.mean, layer.kernel, layer.bias)]


def assert_same_up_to_sign(found, expected, **tolerance):
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, **tolerance)


@pytest.mark.parametrize("n_components", [None, 2])
@pytest.mark.parametrize("shape", [(400, 8), (6000, 64)])  # one block, two blocks
def test_is_that_of_sklearn(shape, n_components):
    x, y = classes(*shape, 5)
    layer = adapted((x, y), n_components)
    x = x.astype("float64")
    peer = LinearDiscriminantAnalysis("eigen", n_components=n_components).fit(x, y)
    expected = peer.transform(x) - peer.transform(x).mean(axis=0)
    assert layer.kept == (n_components or 4)
    assert_same_up_to_sign(numpy(layer(x)), expected, atol=1e-3)


def test_is_that_of_sklearn_on_digits_with_constant_pixels():
    x, y = load_digits(return_X_y=True)
    found = numpy(adapted((x, y))(x))
    expected = LinearDiscriminantAnalysis("svd").fit(x, y).transform(x)
    # Releases of scikit-learn scale by n or by n - classes.
    found, expected = (each / each.std(axis=0) for each in (found, expected))
    assert_same_up_to_sign(found, expected, atol=1e-3)


def test_variance_within_classes_is_the_identity():
    x, y = classes(2000, 10, 6)
    z = numpy(adapted((x, y))(x)).astype("float64")
    rest = np.concatenate([z[y == c] - z[y == c].mean(axis=0) for c in range(6)])
    np.testing.assert_allclose(rest.T @ rest / len(x), np.eye(5), atol=1e-4)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-4)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
def test_shrinkage_draws_standardised_scatter_to_the_identity(shrinkage):
    x, y = classes(500, 7, 4)
    x *= [1e-4, 1, 1, 1e5, 1, 1, 1]  # units do not matter
    z = (x - x.mean(axis=0, dtype="float64")) / x.std(axis=0, dtype="float64")
    means = np.stack([z[y == c].mean(axis=0) for c in range(4)])
    within = np.cov((z - means[y]).T, bias=True)
    target = np.trace(within) / 7 * np.eye(7)
    shrunk = (1 - shrinkage) * within + shrinkage * target
    _, vectors = scipy.linalg.eigh(np.cov(means[y].T, bias=True), shrunk)
    found = numpy(adapted((x, y), shrinkage=shrinkage)(x))
    assert_same_up_to_sign(found, z @ vectors[:, :-4:-1], atol=1e-3)


def test_few_examples_need_shrinkage():
    x, y = classes(600, 30, 3)
    few = np.concatenate([np.flatnonzero(y == c)[:5] for c in range(3)])
    with pytest.raises(ValueError, match=r"Received: shrinkage=0.0"):
        adapted((x[few], y[few]))
    z = numpy(adapted((x[few], y[few]), shrinkage=0.5)(x))
    means = np.stack([z[few][5 * c : 5 * c + 5].mean(axis=0) for c in range(3)])
    nearest = ((z[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
    assert (nearest == y).mean() > 0.9


def test_constant_features_do_not_count():
    x, y = classes(300, 4, 3)
    more = np.concatenate([np.full((300, 1), 0.1), x, np.full((300, 2), -1e6)], axis=1)
    found, expected = numpy(adapted((more, y))(more)), numpy(adapted((x, y))(x))
    assert_same_up_to_sign(found, expected, atol=1e-4)


def test_offset_costs_no_precision():
    x, y = classes(6000, 64, 5)
    x = (x + 1e6).astype("float32")
    exact = x.astype("float64") - 1e6
    expected = LinearDiscriminantAnalysis("eigen").fit(exact, y).transform(exact)
    found = numpy(adapted((x, y))(x))
    assert_same_up_to_sign(found, expected - expected.mean(axis=0), atol=1e-3)


class Batches(keras.utils.PyDataset):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, index):
        return self.parts[index]


def test_streams_give_what_the_arrays_give():
    import tensorflow as tf

    x, y = classes(6000, 64, 5)
    expected = weights(adapted((x, y)))
    cuts = [1, 8, 8, 900, 903]
    parts = list(zip(np.split(x, cuts), np.split(y, cuts), strict=True))
    tensors = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y)
    columns = (np.asfortranarray(x), y[:, None])
    streams = {
        "tensors": tensors,
        "columns": columns,
        "list": (parts,),
        "generator": (((*part, None) for part in parts),),
        "PyDataset": (Batches(parts),),
        "tf.data": (tf.data.Dataset.from_tensor_slices((x, y)).batch(300),),
        "names": (x, np.array([f"class {label}" for label in y])),
    }
    for name, stream in streams.items():
        for weight, same in zip(weights(adapted(stream)), expected, strict=True):
            np.testing.assert_array_equal(weight, same, err_msg=name)


def test_memory_does_not_grow_with_the_data():
    part = classes(2000, 64, 4)

    def peak(parts):
        tracemalloc.start()
        adapted(((part for _ in range(parts)),))
        _, size = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size

    peak(1)
    assert peak(15) < 1.05 * peak(5)


def test_takes_images_and_integers():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (300, 4, 3, 2), dtype="uint8")
    y = rng.integers(0, 4, 300)
    found = numpy(adapted((x, y))(x))
    assert found.shape == (300, 3)
    flat = x.reshape(300, 24).astype("float32")
    np.testing.assert_allclose(found, numpy(adapted((flat, y))(flat)), atol=1e-5)


@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_contract(shape, tmp_path):
    x, y = classes(200, 6, 4)
    x = x.reshape(200, *shape)
    check_layer(lambda: adapted((x, y), shrinkage=0.1, name="lda"), shape, tmp_path)


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "bfloat16"])
def test_half_precision_rounds_only_the_output(policy):
    x, y = classes(300, 6, 4)
    x += 7e4  # beyond float16, and too coarse in bfloat16
    z = adapted((x, y), dtype=policy)(x)
    assert keras.backend.standardize_dtype(z.dtype) != "float32"
    z = numpy(keras.ops.cast(z, "float32"))
    np.testing.assert_allclose(z, numpy(adapted((x, y))(x)), rtol=1e-2, atol=1e-2)


def test_weights_are_not_trainable():
    layer = adapted(classes(100, 4, 3))
    assert layer.trainable_weights == []
    assert [tuple(each.shape) for each in layer.weights] == [(4,), (4, 2), (2,)]


def test_model_follows_when_adapted_again():
    first, second = classes(200, 4, 3, seed=1), classes(300, 4, 3, seed=2)
    layer = adapted(first)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.predict(first[0], verbose=0)
    layer.adapt(*second)
    expected = numpy(adapted(second)(second[0]))
    np.testing.assert_allclose(model.predict(second[0], verbose=0), expected, atol=1e-4)
    with pytest.raises(ValueError, match=r"Received: 3 components of \(4,\)"):
        layer.adapt(*classes(200, 4, 4))


def test_rebuilt_without_weights_is_not_taken_for_adapted():
    model = keras.Sequential([keras.Input((4,)), adapted(classes(100, 4, 3))])
    again = keras.Sequential.from_config(model.get_config())
    x, _ = classes(3, 4, 2)
    assert np.isnan(again.predict(x, verbose=0)).all()
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(numpy(again(x)), numpy(model(x)), rtol=1e-6)


def test_refuses_use_before_adapt():
    with pytest.raises(ValueError, match=r"adapt.*Received: input_shape=\(3, 4\)"):
        LDAProjection()(np.ones((3, 4), "float32"))
    with pytest.raises(ValueError, match=r"Received: input_shape=\(None, 4\)"):
        keras.Sequential([keras.Input((4,)), LDAProjection(2)])


def test_refuses_other_shapes_in_the_call():
    with pytest.raises(ValueError, match="expected shape"):
        adapted(classes(100, 4, 3))(np.ones((2, 5), "float32"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_components": 0}, "Received: n_components=0"),
        ({"n_components": 0.9}, "Received: n_components=0.9"),
        ({"n_components": True}, "Received: n_components=True"),
        ({"shrinkage": -0.1}, "Received: shrinkage=-0.1"),
        ({"shrinkage": 1.5}, "Received: shrinkage=1.5"),
        ({"shrinkage": float("nan")}, "Received: shrinkage=nan"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        LDAProjection(**arguments)


X, Y = classes(100, 4, 3)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "data, message",
    [
        ((X, Y * 0), r"Received: 1 classes, examples of shape \(4,\)"),
        ((X, Y % 2), "2 components need .* Received: 2 classes"),
        ((X[:, :1], Y), r"Received: 3 classes, examples of shape \(1,\)"),
        ((X * 0, Y), "2 components need .* Received: 3 classes"),
        ((np.eye(3)[Y], Y), "Received: shrinkage=0.0"),
        ((np.where(np.arange(4) == 2, np.nan, X), Y), "Received: NaN or infinity"),
        ((np.where(np.arange(4) == 2, np.inf, X), Y), "Received: NaN or infinity"),
        ((X, Y[:-1]), r"Received: x of shape \(100, 4\), y of shape \(99,\)"),
        ((X, np.eye(3)[Y]), r"y of shape \(100, 3\)"),
        ((X[:, 0], Y), r"Received: x of shape \(100,\)"),
        ((X,), "a label each. Received: x of shape"),
        (([(X, Y), (X[:, :3], Y)],), r"Received: x of shape \(100, 3\)"),
        (([],), "Received: none"),
        ((X[:0], Y[:0]), "Received: none"),
    ],
)
def test_adapt_refuses(data, message):
    layer = LDAProjection(2)
    with pytest.raises(ValueError, match=message):
        layer.adapt(*data)
    assert not layer.built
