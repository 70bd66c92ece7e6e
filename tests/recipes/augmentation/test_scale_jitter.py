import keras
import numpy as np
import pytest
from contract import check_layer, numpy
from keras import ops
from PIL import Image
from scipy import stats

from hornbook.recipes.augmentation.scale_jitter import ScaleJitter

TENSORFLOW = keras.backend.backend() == "tensorflow"
RNG = np.random.default_rng(0)


def photos(height, width, batch=2, channels=3):
    """Noise, on which every error of the filter shows."""
    shape = (batch, height, width, channels)
    return RNG.uniform(0, 255, shape).astype("float32")


def resized(image, short):
    """The whole image by Pillow, at the size that torchvision's `Resize` gives it."""
    height, width = image.shape[:2]
    size = [int(short * side / min(height, width)) for side in (height, width)]
    channels = [
        Image.fromarray(image[..., c]).resize(size[::-1], Image.BILINEAR)
        for c in range(image.shape[-1])
    ]
    return np.stack([np.asarray(channel) for channel in channels], -1)


def find(crop, image, shorts, atol=2e-3):
    """Which short side, top and left a crop has in the image: there must be one."""
    for short in shorts:
        whole = resized(image, short)
        view = np.lib.stride_tricks.sliding_window_view(whole, crop.shape)[:, :, 0]
        fits = np.abs(view - crop).max((2, 3, 4)) < atol
        if fits.any():
            return short, *np.argwhere(fits)[0]
    raise AssertionError("The crop is no window of the resized image.")


@pytest.mark.parametrize(
    ("image", "crop", "shorts"),
    [
        ((40, 56), (12, 10), (14, 20)),  # shrunk
        ((33, 20), (9, 16), (18, 22)),  # about as it is
        ((10, 13), (15, 15), (16, 20)),  # enlarged
    ],
)
def test_every_crop_is_one_of_pillows_resized_image(image, crop, shorts):
    """Within 2e-3 of 255, and one for each image."""
    x = photos(*image, batch=6)
    y = numpy(ScaleJitter(*crop, shorts, seed=1)(x, training=True))
    sides = range(shorts[0], shorts[1] + 1)
    found = [find(c, i, sides) for c, i in zip(y, x, strict=True)]
    assert len({short for short, *_ in found}) > 1
    assert len(set(found)) == 6


def test_short_sides_and_places_are_uniform():
    """Read off a ramp: its slope is the scale, its start the place."""
    ramp = np.arange(60, dtype="float32")
    plane = np.stack(np.broadcast_arrays(ramp[:, None], ramp[:45]), -1)
    count, low, high, crop = 2500, 90, 94, 80  # enlarged, so that ramps stay straight
    layer = ScaleJitter(crop, crop, (low, high), seed=2)
    y = numpy(layer(np.repeat(plane[None], count, axis=0), training=True))
    middle = y[:, 20:60, 20:60]
    pixel = (middle[:, -1, :, 0] - middle[:, 0, :, 0]).mean(1) / 39
    shorts = np.round(45 / ((middle[:, :, -1, 1] - middle[:, :, 0, 1]).mean(1) / 39))
    longs = np.floor(shorts * 60 / 45)
    np.testing.assert_allclose(pixel, 60 / longs, rtol=1e-3)
    counts = np.bincount(shorts.astype(int) - low, minlength=high - low + 1)
    assert len(counts) == high - low + 1
    assert stats.chisquare(counts).pvalue > 0.001
    for axis, wholes in ((0, longs), (1, shorts)):
        size = (60, 45)[axis]
        # The pixel at 30 of the crop lies at (start + 30.5) * size / whole - 0.5.
        start = (y[:, 30, 30, axis] + 0.5) * wholes / size - 30.5
        np.testing.assert_allclose(start, np.round(start), atol=0.02)
        for short in range(low, high + 1):
            chosen = np.round(start[shorts == short]).astype(int)
            last = int(wholes[shorts == short][0]) - crop
            assert chosen.min() >= 0 and chosen.max() <= last
            counts = np.bincount(chosen, minlength=last + 1)
            assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize(
    ("image", "crop"), [((40, 56), (14, 14)), ((61, 32), (10, 16)), ((9, 9), (15, 8))]
)
def test_inference_is_the_lowest_short_side_and_the_centre(image, crop):
    x = photos(*image)
    layer = ScaleJitter(*crop, (17, 30))
    y = numpy(layer(x, training=False))
    for ours, each in zip(y, x, strict=True):
        whole = resized(each, 17)
        top, left = (
            round((w - c) / 2.0) for w, c in zip(whole.shape, crop, strict=False)
        )
        expected = whole[top : top + crop[0], left : left + crop[1]]
        np.testing.assert_allclose(ours, expected, atol=2e-3)
    model = keras.Sequential([keras.Input((*image, 3)), layer])
    np.testing.assert_allclose(model.predict(x, verbose=0), y, atol=1e-3)


def test_resnets_defaults():
    layer = ScaleJitter(224, 224)
    assert layer.short_side == (256, 480)
    x = photos(300, 400, batch=1)
    expected = resized(x[0], 256)[16:240, 58:282]  # 256 × 341, margins 32 and 117
    # Places in a large image have fewer digits to spare in float32.
    np.testing.assert_allclose(numpy(layer(x, training=False))[0], expected, atol=2e-2)


@pytest.mark.parametrize("training", [True, False])
def test_integers_are_rounded_and_keep_their_dtype(training):
    x = RNG.integers(0, 256, (4, 30, 20, 3)).astype("uint8")
    y, exact = (
        numpy(ScaleJitter(9, 8, (10, 30), seed=0)(images, training=training))
        for images in (x, x.astype("float32"))
    )
    assert y.dtype == "uint8"
    np.testing.assert_array_equal(y, np.round(exact))


def test_dtypes_under_a_mixed_policy():
    layer = ScaleJitter(8, 8, (9, 12), dtype="mixed_bfloat16")
    x = photos(300, 200)
    y = layer(x, training=False)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    exact = numpy(ScaleJitter(8, 8, (9, 12))(x, training=False))
    # The images lose digits, the places where the filter lies do not.
    np.testing.assert_allclose(numpy(ops.cast(y, "float32")), exact, rtol=1e-2)
    assert layer(keras.Input((9, 9, 3), dtype="uint8")).dtype == "uint8"
    assert layer(keras.Input((9, 9, 3))).dtype == "bfloat16"


def test_seed():
    x = photos(20, 20, batch=4)
    layers = [ScaleJitter(9, 9, (10, 30), seed=s) for s in (1, 1, 2)]
    first = [numpy(layer(x)) for layer in layers]
    second = [numpy(layer(x)) for layer in layers]
    np.testing.assert_array_equal(first[0], first[1])
    np.testing.assert_array_equal(second[0], second[1])
    assert (first[0] != first[2]).any() and (first[0] != second[0]).any()


def test_one_image_and_none():
    x = photos(20, 30)
    layer = ScaleJitter(9, 8, (10, 12))
    whole = numpy(layer(x, training=False))
    np.testing.assert_allclose(numpy(layer(x[1], training=False)), whole[1], rtol=1e-5)
    assert layer(x[0]).shape == (9, 8, 3)
    for training in (True, False):
        assert numpy(layer(x[:0], training=training)).shape == (0, 9, 8, 3)


def test_contract(tmp_path):
    make = {"short_side": (9, 12), "seed": 3}
    check_layer(lambda: ScaleJitter(4, 7, **make), (9, 8, 3), tmp_path, fit=False)


def test_graph_of_unknown_size_xla_and_tf_data():
    """TensorFlow's; the other backends run the same layer compiled in `fit`."""
    x = photos(30, 20, batch=6)

    def make():
        return ScaleJitter(9, 8, (10, 16), seed=0)

    inputs = keras.Input((None, None, 3))
    outputs = make()(inputs)
    assert outputs.shape == (None, 9, 8, 3)
    predicted = keras.Model(inputs, outputs).predict(x, verbose=0)
    inferred = numpy(make()(x, training=False))
    np.testing.assert_allclose(predicted, inferred, rtol=1e-4)
    if TENSORFLOW:
        import tensorflow as tf

        first = numpy(make()(x, training=True))
        graph = tf.function(make(), [tf.TensorSpec((None, None, None, 3), tf.float32)])
        data = tf.data.Dataset.from_tensor_slices(x)
        batched = next(iter(data.batch(6).map(make(), num_parallel_calls=2)))
        for crops in (graph(x), batched):
            np.testing.assert_allclose(crops, first, rtol=1e-3, atol=1e-2)
        # XLA draws other numbers, so of its crops only those of inference can be told.
        assert tf.function(make(), jit_compile=True)(x).shape == (6, 9, 8, 3)
        # An image each, of unequal sizes, into one batch.
        sizes = tf.data.Dataset.from_tensor_slices([[9, 40], [30, 20]])
        mixed = sizes.map(lambda size: tf.ones((size[0], size[1], 3)))
        crops = next(iter(mixed.map(make()).batch(2)))
        np.testing.assert_allclose(crops, np.ones((2, 9, 8, 3)), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 0}, "Received: height=0"),
        ({"width": 2.5}, r"Received: width=2\.5"),
        ({"short_side": (30, 20)}, r"Received: short_side=\(30, 20\)"),
        ({"short_side": (2, 20)}, r"crop of 3 × 3\. Received: short_side=\(2, 20\)"),
        ({"short_side": (5.5, 20)}, r"Received: short_side=\(5\.5, 20\)"),
        ({"short_side": (5,)}, r"Received: short_side=\(5,\)"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ScaleJitter(**{"height": 3, "width": 3, **arguments})


def test_bad_shapes():
    with pytest.raises(ValueError, match=r"Received: input_shape=\(6, 6\)"):
        ScaleJitter(4, 4)(np.ones((6, 6)))
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="image_data_format=channels_first"):
            ScaleJitter(4, 4)
    finally:
        keras.config.set_image_data_format("channels_last")
