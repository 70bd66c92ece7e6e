import keras
import numpy as np
import pytest
from contract import check_layer, numpy
from scipy import stats

from hornbook.recipes.augmentation.random_crop import RandomCrop

TENSORFLOW = keras.backend.backend() == "tensorflow"
MODES = ("constant", "edge", "reflect", "symmetric")  # NumPy's names are the same


def images(height, width, batch=2, channels=1, dtype="float32"):
    """Images in which each pixel has a number of its own."""
    size = batch * height * width * channels
    return np.arange(size).reshape(batch, height, width, channels).astype(dtype)


def windows(image, height, width):
    """Every window of one padded image, by place."""
    view = np.lib.stride_tricks.sliding_window_view(image, (height, width), (0, 1))
    return np.moveaxis(view, 2, -1)  # (tops, lefts, height, width, channels)


def find(crop, image):
    """The place of a crop in an image, and whether it is mirrored; it must be there."""
    every = windows(image, *crop.shape[:2])
    for mirrored in (False, True):
        seen = crop[:, ::-1] if mirrored else crop
        place = np.argwhere((every == seen).all((2, 3, 4)))
        if len(place):
            return *place[0], mirrored
    raise AssertionError("The crop is no window of the image.")


def places(layer, x, padded=None):
    crops = numpy(layer(x, training=True))
    padded = x if padded is None else padded
    return np.array([find(c, i) for c, i in zip(crops, padded, strict=True)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int32"])
def test_every_crop_is_a_numpy_slice(dtype, channels):
    x = images(9, 7, batch=6, channels=channels).astype(dtype)
    layer = RandomCrop(5, 4, seed=0)
    y = layer(x, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    assert not places(layer, x)[:, 2].any()
    assert len(np.unique(places(layer, x)[:, :2], axis=0)) > 1


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("padding", [1, 3, 6])
@pytest.mark.parametrize("mode", MODES)
def test_padding_is_numpys(mode, padding, dtype):
    """Also by more than the image is long: NumPy repeats the reflection."""
    x = images(4, 5, batch=12).astype(dtype) + 1
    how = {"constant_values": 7} if mode == "constant" else {}
    width = ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0))
    padded = np.pad(x, width, mode, **how)
    layer = RandomCrop(4, 3, padding, mode, fill_value=7, seed=padding)
    for _ in range(2):
        places(layer, x, padded)
    # All of it, at once.
    size = (4 + 2 * padding, 5 + 2 * padding)
    whole = RandomCrop(*size, padding, mode, fill_value=7)
    np.testing.assert_array_equal(numpy(whole(x, training=True)), padded)
    np.testing.assert_array_equal(numpy(whole(x, training=False)), padded)


def test_a_single_pixel_can_be_reflected():
    x = images(1, 1) + 5
    for mode in ("edge", "reflect", "symmetric"):
        y = numpy(RandomCrop(5, 5, 2, mode)(x, training=True))
        np.testing.assert_array_equal(y, np.broadcast_to(x, y.shape))


def test_places_are_uniform_and_independent():
    """Rows by columns by mirrored, all cells alike, over one batch."""
    x = np.repeat(images(6, 5, batch=1), 4000, axis=0)
    layer = RandomCrop(4, 4, padding=1, horizontal_flip=0.5, seed=3)
    padded = np.pad(x[:1] + 1, ((0, 0), (1, 1), (1, 1), (0, 0)))
    crops = numpy(layer(x + 1, training=True))
    seen = {}
    found = []
    for crop in crops:  # there are but 40 different ones
        key = crop.tobytes()
        if key not in seen:
            seen[key] = find(crop, padded[0])
        found.append(seen[key])
    counts = np.zeros((5, 4, 2))
    np.add.at(counts, tuple(np.array(found, "int").T), 1)
    assert stats.chisquare(counts.ravel()).pvalue > 0.001
    # One place for the batch, as Keras has it, would be found out.
    assert stats.chisquare([4000, *[0] * 39]).pvalue < 1e-9


def test_probability_of_a_mirror():
    x = np.repeat(images(1, 2, batch=1), 2000, axis=0)
    for probability in (0.0, 0.2, 1.0):
        y = numpy(RandomCrop(1, 2, horizontal_flip=probability, seed=0)(x))
        mirrored = int((y[:, 0, 0, 0] == 1).sum())
        assert stats.binomtest(mirrored, 2000, probability).pvalue > 0.001


@pytest.mark.parametrize(("image", "crop"), [((9, 7), (4, 4)), ((8, 7), (5, 6))])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_the_centre_in_inference(image, crop, padding):
    """torchvision's `center_crop`, its rounding included."""
    x = images(*image, channels=3)
    top, left = (round((i - c) / 2.0) for i, c in zip(image, crop, strict=True))
    expected = x[:, top : top + crop[0], left : left + crop[1]]
    layer = RandomCrop(*crop, padding, horizontal_flip=1.0)
    np.testing.assert_array_equal(numpy(layer(x, training=False)), expected)
    model = keras.Sequential([keras.Input((*image, 3)), layer])
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)


def test_cifars_recipe_leaves_test_images_as_they_are():
    x = images(32, 32, channels=3)
    layer = RandomCrop(32, 32, padding=4, horizontal_flip=0.5, seed=0)
    np.testing.assert_array_equal(numpy(layer(x, training=False)), x)
    padded = np.pad(x, ((0, 0), (4, 4), (4, 4), (0, 0)))
    assert len(np.unique(places(layer, x, padded), axis=0)) == 2


def test_seed():
    x = images(9, 9, batch=8)
    layers = [RandomCrop(4, 4, horizontal_flip=0.5, seed=s) for s in (1, 1, 2)]
    first = [numpy(layer(x)) for layer in layers]
    second = [numpy(layer(x)) for layer in layers]
    np.testing.assert_array_equal(first[0], first[1])
    np.testing.assert_array_equal(second[0], second[1])
    assert (first[0] != first[2]).any() and (first[0] != second[0]).any()


def test_one_image():
    x = images(9, 7, channels=3)[0]
    layer = RandomCrop(5, 4, padding=1, seed=0)
    find(numpy(layer(x)), np.pad(x, ((1, 1), (1, 1), (0, 0))))
    np.testing.assert_array_equal(numpy(layer(x, training=False)), x[2:7, 2:6])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_empty_batch(mode, training):
    layer = RandomCrop(5, 4, 2, mode, horizontal_flip=0.5)
    assert numpy(layer(images(9, 7)[:0], training=training)).shape == (0, 5, 4, 1)


def test_contract(tmp_path):
    check_layer(lambda: RandomCrop(4, 7), (7, 8, 3), tmp_path, fit=False)
    check_layer(
        lambda: RandomCrop(7, 8, 2, "reflect", horizontal_flip=0.5, seed=1),
        (7, 8, 3),
        tmp_path,
        fit=False,
    )


def test_integers_stay_under_a_mixed_policy():
    layer = RandomCrop(4, 3, dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(layer(images(6, 5)).dtype) == "bfloat16"
    y = layer(images(6, 5, dtype="uint8"))
    assert keras.backend.standardize_dtype(y.dtype) == "uint8"
    assert layer(keras.Input((6, 5, 3), dtype="uint8")).dtype == "uint8"


def test_in_training_a_model_sees_new_crops_in_each_step():
    """`fit` draws, for each image and anew in each epoch."""
    seen = []

    class Spy(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(logs["loss"])

    x = images(8, 8, batch=4) / 256
    model = keras.Sequential([keras.Input((8, 8, 1)), RandomCrop(2, 2, seed=0)])
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(1, kernel_initializer="ones"))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(x, np.zeros((4, 1)), epochs=4, verbose=0, callbacks=[Spy()])
    assert len(set(seen)) == 4


def test_unknown_image_size(tmp_path):
    inputs = keras.Input((None, None, 3), dtype="uint8")
    outputs = RandomCrop(60, 50, padding=1, seed=0)(inputs)
    assert outputs.shape == (None, 60, 50, 3) and outputs.dtype == "uint8"
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    for size in ((60, 50), (63, 57)):
        x = images(*size, channels=3).astype("uint8")
        top, left = round((size[0] - 60) / 2), round((size[1] - 50) / 2)
        expected = x[:, top : top + 60, left : left + 50]
        np.testing.assert_array_equal(numpy(model(x, training=False)), expected)


def test_graph_of_unknown_size_xla_and_tf_data():
    """TensorFlow's; the other backends run the same layer compiled in `fit`."""
    x = images(9, 7, batch=6, channels=3)
    layer = RandomCrop(5, 4, padding=1, horizontal_flip=0.5, seed=0)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    if not TENSORFLOW:
        model = keras.Sequential([keras.Input((9, 7, 3)), layer])
        np.testing.assert_array_equal(
            model.predict(x, verbose=0), numpy(layer(x, training=False))
        )
        return
    import tensorflow as tf

    spec = tf.TensorSpec((None, None, None, 3), tf.float32)
    graph = tf.function(layer, [spec])
    compiled = tf.function(layer, jit_compile=True)
    data = tf.data.Dataset.from_tensor_slices(x)
    batched = data.batch(6).map(layer, num_parallel_calls=2)
    single = data.map(layer, num_parallel_calls=2).batch(6)
    for crops in (graph(x), compiled(x), next(iter(batched)), next(iter(single))):
        found = [find(c, i) for c, i in zip(crops.numpy(), padded, strict=True)]
        assert len(set(found)) > 1
    for small in (images(2, 9, channels=3), images(9, 1, channels=3)):
        for training in (True, False):
            graph = tf.function(lambda t, on=training: layer(t, training=on), [spec])
            with pytest.raises(tf.errors.InvalidArgumentError):
                graph(small)


@pytest.mark.parametrize("size", [(4, 9), (9, 4), (2, 2)])
def test_small_images_are_refused(size):
    layer = RandomCrop(7, 7, padding=1)
    match = rf"not be smaller than the crop of 7 × 7\. Received: .*{size[0]}"
    for training in (True, False):
        with pytest.raises(ValueError, match=match):
            layer(images(*size), training=training)
    with pytest.raises(ValueError, match=match):
        layer(keras.Input((*size, 3)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 0}, "Received: height=0"),
        ({"width": 2.5}, r"Received: width=2\.5"),
        ({"padding": -1}, "Received: padding=-1"),
        ({"padding": (1, 1)}, r"Received: padding=\(1, 1\)"),
        ({"padding_mode": "wrap"}, "Received: padding_mode=wrap"),
        ({"horizontal_flip": 1.5}, r"Received: horizontal_flip=1\.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandomCrop(**{"height": 3, "width": 3, **arguments})


def test_bad_shapes():
    with pytest.raises(ValueError, match=r"Received: input_shape=\(6, 6\)"):
        RandomCrop(4, 4)(np.ones((6, 6)))
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="image_data_format=channels_first"):
            RandomCrop(4, 4)
    finally:
        keras.config.set_image_data_format("channels_last")
