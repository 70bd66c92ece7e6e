import math
import random

import keras
import numpy as np
import pytest
from contract import check_layer, numpy
from keras import ops
from PIL import Image
from scipy import stats

from hornbook.recipes.augmentation.random_resized_crop import RandomResizedCrop

TENSORFLOW = keras.backend.backend() == "tensorflow"
RNG = np.random.default_rng(0)


def photos(height, width, batch=2, channels=3):
    """Noise, on which every error of the filter shows."""
    shape = (batch, height, width, channels)
    return RNG.uniform(0, 255, shape).astype("float32")


def pillow(image, size, box=None):
    """Each channel by Pillow's antialiased bilinear filter; sizes are of NumPy."""
    channels = [
        Image.fromarray(image[..., c]).resize(size[::-1], Image.BILINEAR, box)
        for c in range(image.shape[-1])
    ]
    return np.stack([np.asarray(channel) for channel in channels], -1)


def boxes(layer, count, height, width):
    """The boxes that a layer draws: `(count, 4)` of top, left, height, width."""
    drawn = layer._boxes(count, height, width)
    return np.concatenate([numpy(each) for each in drawn], axis=1).astype(int)


def torchvision_boxes(count, height, width, scale, ratio, seed):
    """`RandomResizedCrop.get_params` as torchvision defines it, in plain Python."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        for _ in range(10):
            area = height * width * rng.uniform(*scale)
            aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
            w = round(math.sqrt(area * aspect))
            h = round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                top, left = rng.randint(0, height - h), rng.randint(0, width - w)
                break
        else:
            h, w = height, width
            if width / height < ratio[0]:
                h = round(width / ratio[0])
            elif width / height > ratio[1]:
                w = round(height * ratio[1])
            top, left = (height - h) // 2, (width - w) // 2
        found.append((top, left, h, w))
    return np.array(found)


# The boxes.


@pytest.mark.parametrize(
    ("size", "scale", "ratio"),
    [
        ((224, 320), (0.08, 1.0), (3 / 4, 4 / 3)),
        ((50, 200), (0.3, 0.9), (3 / 4, 4 / 3)),  # some tries fail, and the fallback
        ((300, 100), (0.5, 1.0), (0.2, 2.0)),
    ],
)
def test_boxes_are_distributed_as_torchvisions(size, scale, ratio):
    count = 5000
    ours = boxes(RandomResizedCrop(8, 8, scale, ratio, seed=1), count, *size)
    theirs = torchvision_boxes(count, *size, scale, ratio, seed=2)

    def measures(boxes):
        top, left, height, width = boxes.T.astype("float64")
        return {
            "area": height * width,
            "ratio": width / height,
            "top": (top + 0.5) / (size[0] - height + 1),
            "left": (left + 0.5) / (size[1] - width + 1),
            "bottom": top + height,
            "right": left + width,
        }

    for name, values in measures(ours).items():
        test = stats.ks_2samp(values, measures(theirs)[name], method="asymp")
        assert test.pvalue > 0.001, name
    top, left, height, width = ours.T
    assert min(top.min(), left.min()) >= 0 and min(height.min(), width.min()) > 0
    assert (top + height <= size[0]).all() and (left + width <= size[1]).all()


def test_scale_and_ratio_by_definition():
    """Where nearly every try fits: area uniform, ratio log-uniform."""
    scale, ratio = (0.1, 0.5), (0.8, 1.25)
    layer = RandomResizedCrop(8, 8, scale, ratio, seed=0)
    _, _, height, width = boxes(layer, 4000, 1000, 1000).T
    fractions = height * width / 1e6
    assert stats.kstest(fractions, stats.uniform(0.1, 0.4).cdf).pvalue > 0.001
    logs = np.log(width / height)
    span = 2 * math.log(1.25)
    assert stats.kstest(logs, stats.uniform(-span / 2, span).cdf).pvalue > 0.001
    # Uniform in the ratio itself is another distribution.
    uniform = stats.uniform(0.8, 0.45).cdf
    assert stats.kstest(width / height, uniform).pvalue < 1e-9


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((10, 100), (0, 43, 10, 13)),  # too wide: 10 · 4/3 rounds to 13
        ((100, 10), (43, 0, 13, 10)),  # too high: 10 / (3/4) rounds to 13
        ((1, 1), (0, 0, 1, 1)),
    ],
)
def test_fallback_where_no_box_fits(size, expected):
    layer = RandomResizedCrop(8, 8, scale=(0.9, 1.0), seed=0)
    np.testing.assert_array_equal(boxes(layer, 20, *size), [expected] * 20)


# The pixels, against Pillow.


@pytest.mark.parametrize("size", [(16, 16), (50, 20), (7, 60)])
def test_each_image_is_pillows_crop_and_resize(size):
    """Shrunk and enlarged; within 1e-3 of 255, which is Pillow's own rounding."""
    x = photos(40, 56, batch=6)
    drawn = boxes(RandomResizedCrop(*size, seed=5), 6, 40, 56)
    y = numpy(RandomResizedCrop(*size, seed=5)(x, training=True))
    assert len(np.unique(drawn, axis=0)) == 6
    for crop, image, (top, left, height, width) in zip(y, x, drawn, strict=True):
        cut = image[top : top + height, left : left + width]
        np.testing.assert_allclose(crop, pillow(cut, size), atol=1e-3)


def test_without_antialiasing_it_would_not_be():
    """Four neighbours of a sample, as in `crop_and_resize`, are not enough."""
    x = photos(64, 64, batch=1, channels=1)
    layer = RandomResizedCrop(8, 8, scale=(1, 1), ratio=(1, 1))
    y = numpy(layer(x, training=True))[0]
    four = x[0, 3::8, 3::8] + x[0, 3::8, 4::8] + x[0, 4::8, 3::8] + x[0, 4::8, 4::8]
    assert np.abs(y - four / 4).max() > 20
    np.testing.assert_allclose(y, pillow(x[0], (8, 8)), atol=1e-3)


@pytest.mark.parametrize(
    ("image", "crop", "fraction", "box"),
    [
        ((320, 320), (224, 224), 0.875, (20, 20, 300, 300)),  # resized to 256
        ((256, 384), (28, 28), 0.875, (80, 16, 304, 240)),
        ((60, 40), (10, 20), 0.5, (10, 25, 30, 35)),  # the width binds
        ((24, 36), (24, 24), 1, (6, 0, 30, 24)),
    ],
)
def test_inference_is_a_resize_and_a_central_crop(image, crop, fraction, box):
    """Whose filter sees what lies beside the crop, as Pillow's does with a `box`."""
    x = photos(*image)
    layer = RandomResizedCrop(*crop, crop_pct=fraction)
    y = numpy(layer(x, training=False))
    for ours, each in zip(y, x, strict=True):
        np.testing.assert_allclose(ours, pillow(each, crop, box), atol=2e-3)
    model = keras.Sequential([keras.Input((*image, 3)), layer])
    np.testing.assert_allclose(model.predict(x, verbose=0), y, atol=1e-3)


def test_identity():
    """The whole image at its own size is the image."""
    x = photos(12, 9)
    layer = RandomResizedCrop(12, 9, scale=(1, 1), ratio=(0.75, 0.75))
    np.testing.assert_allclose(numpy(layer(x, training=True)), x, rtol=1e-5)
    layer = RandomResizedCrop(12, 9, crop_pct=1)
    np.testing.assert_allclose(numpy(layer(x, training=False)), x, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_integers_are_rounded_and_keep_their_dtype(training):
    x = RNG.integers(0, 256, (4, 30, 20, 3)).astype("uint8")
    y, exact = (
        numpy(RandomResizedCrop(9, 8, seed=0)(images, training=training))
        for images in (x, x.astype("float32"))
    )
    assert y.dtype == "uint8"
    np.testing.assert_array_equal(y, np.round(exact))
    extremes = np.repeat(np.array([[[[0]], [[255]]]], "uint8"), 9, axis=2)
    y = numpy(RandomResizedCrop(40, 40, seed=0)(extremes, training=training))
    assert y.max() == 255 and (training or y.min() == 0)  # nothing wraps around


def test_dtypes_under_a_mixed_policy():
    layer = RandomResizedCrop(8, 8, dtype="mixed_bfloat16", seed=0)
    x = photos(300, 200)
    y = layer(x, training=False)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    exact = numpy(RandomResizedCrop(8, 8)(x, training=False))
    # The images lose digits, the places where the filter lies do not.
    np.testing.assert_allclose(numpy(ops.cast(y, "float32")), exact, rtol=1e-2)
    assert layer(keras.Input((9, 9, 3), dtype="uint8")).dtype == "uint8"
    assert layer(keras.Input((9, 9, 3))).dtype == "bfloat16"


def test_seed():
    x = photos(20, 20, batch=4)
    layers = [RandomResizedCrop(9, 9, seed=s) for s in (1, 1, 2)]
    first = [numpy(layer(x)) for layer in layers]
    second = [numpy(layer(x)) for layer in layers]
    np.testing.assert_array_equal(first[0], first[1])
    np.testing.assert_array_equal(second[0], second[1])
    assert (first[0] != first[2]).any() and (first[0] != second[0]).any()


def test_one_image_and_none():
    x = photos(20, 30)
    layer = RandomResizedCrop(9, 8)
    whole = numpy(layer(x, training=False))
    np.testing.assert_allclose(numpy(layer(x[1], training=False)), whole[1], rtol=1e-5)
    assert layer(x[0]).shape == (9, 8, 3)
    for training in (True, False):
        assert numpy(layer(x[:0], training=training)).shape == (0, 9, 8, 3)


def test_contract(tmp_path):
    check_layer(lambda: RandomResizedCrop(4, 7), (9, 8, 3), tmp_path, fit=False)
    check_layer(
        lambda: RandomResizedCrop(12, 9, (0.2, 0.7), (1, 2), 1.0, seed=4),
        (9, 8, 3),
        tmp_path,
        fit=False,
    )


def test_fit_passes_gradients_on():
    model = keras.Sequential(
        [keras.Input((9, 9, 1)), keras.layers.Conv2D(1, 1), RandomResizedCrop(4, 4)]
    )
    model.compile("sgd", "mse")
    before = numpy(model.layers[0].kernel)
    model.fit(photos(9, 9, channels=1) / 255, np.ones((2, 4, 4, 1)), verbose=0)
    assert (numpy(model.layers[0].kernel) != before).all()


def test_unknown_image_size(tmp_path):
    inputs = keras.Input((None, None, 3), dtype="uint8")
    outputs = RandomResizedCrop(6, 5, seed=0)(inputs)
    assert outputs.shape == (None, 6, 5, 3) and outputs.dtype == "uint8"
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    for size in ((6, 5), (63, 57), (2, 3)):
        x = photos(*size).astype("uint8")
        expected = numpy(RandomResizedCrop(6, 5)(x, training=False))
        np.testing.assert_array_equal(numpy(model(x, training=False)), expected)


def test_graph_of_unknown_size_xla_and_tf_data():
    """TensorFlow's; the other backends run the same layer compiled in `fit`."""
    x = photos(30, 20, batch=6)

    def make():
        return RandomResizedCrop(9, 8, seed=0)

    first = numpy(make()(x, training=True))
    if not TENSORFLOW:
        model = keras.Sequential([keras.Input((30, 20, 3)), make()])
        np.testing.assert_allclose(
            model.predict(x, verbose=0),
            numpy(make()(x, training=False)),
            rtol=1e-4,
        )
        return
    import tensorflow as tf

    graph = tf.function(make(), [tf.TensorSpec((None, None, None, 3), tf.float32)])
    data = tf.data.Dataset.from_tensor_slices(x)
    batched = next(iter(data.batch(6).map(make(), num_parallel_calls=2)))
    for crops in (graph(x), batched):
        np.testing.assert_allclose(crops, first, rtol=1e-3, atol=1e-2)
    # XLA draws other numbers, so of its crops only those of inference can be told.
    assert tf.function(make(), jit_compile=True)(x).shape == (6, 9, 8, 3)
    single = [crop.numpy() for crop in data.map(make(), num_parallel_calls=2)]
    assert {crop.shape for crop in single} == {(9, 8, 3)}
    # An image each, of unequal sizes, into one batch.
    sizes = tf.data.Dataset.from_tensor_slices([[9, 40], [30, 20]])
    mixed = sizes.map(lambda size: tf.ones((size[0], size[1], 3)))
    np.testing.assert_allclose(next(iter(mixed.map(make()).batch(2))), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 0}, "Received: height=0"),
        ({"width": 2.5}, r"Received: width=2\.5"),
        ({"scale": (0, 1)}, r"Received: scale=\(0, 1\)"),
        ({"scale": (0.5, 1.5)}, r"Received: scale=\(0\.5, 1\.5\)"),
        ({"scale": (0.9, 0.5)}, r"Received: scale=\(0\.9, 0\.5\)"),
        ({"ratio": (2, 1)}, r"Received: ratio=\(2, 1\)"),
        ({"ratio": (1, 2, 3)}, r"Received: ratio=\(1, 2, 3\)"),
        ({"crop_pct": 0}, "Received: crop_pct=0"),
        ({"crop_pct": 1.1}, r"Received: crop_pct=1\.1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandomResizedCrop(**{"height": 3, "width": 3, **arguments})


def test_bad_shapes():
    with pytest.raises(ValueError, match=r"Received: input_shape=\(6, 6\)"):
        RandomResizedCrop(4, 4)(np.ones((6, 6)))
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="image_data_format=channels_first"):
            RandomResizedCrop(4, 4)
    finally:
        keras.config.set_image_data_format("channels_last")
