import keras
import numpy as np
import pytest
from contract import check_layer, numpy
from keras import layers, ops
from PIL import Image

from hornbook.recipes.inference.multi_scale_views import MultiScaleViews
from hornbook.recipes.inference.ten_crop import TenCrop
from hornbook.recipes.inference.voting_model import VotingModel

RNG = np.random.default_rng(0)


def resized(x, short):
    """Pillow's antialiased bilinear resize of one channel, in float, as torchvision's.

    Args:
        x: Array `(height, width)`.
        short: The new short side; the long one is rounded down.
    """
    height, width = (side * short // min(x.shape) for side in x.shape)
    image = Image.fromarray(x.astype("float32"))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def truth(x, size, height, width):
    """The five crops of `TenCrop` from Pillow's image, `(views, height, width)`."""
    crops = TenCrop(height, width, flips=False)(resized(x, size)[None, :, :, None])
    return numpy(crops)[0, ..., 0]


@pytest.mark.parametrize("shape", [(30, 41), (53, 29), (20, 20), (9, 13)])
@pytest.mark.parametrize("crop", [(10, 8), (7, 10)])
def test_is_to_resize_and_then_to_crop(shape, crop):
    """Shrunk, enlarged, and as they are: against Pillow, with odd and even margins."""
    x = RNG.uniform(0, 255, shape)
    sizes = (10, 13, 20, 37)
    views = numpy(MultiScaleViews(*crop, sizes, flips=False)(x[None, :, :, None]))
    expected = np.concatenate([truth(x, size, *crop) for size in sizes])
    np.testing.assert_allclose(views[0, ..., 0], expected, atol=2e-3)


def test_one_crop_is_the_centre_and_flips_come_last():
    x = RNG.uniform(0, 255, (2, 20, 31, 3))
    five = numpy(MultiScaleViews(8, 10, (10, 16), flips=False)(x))
    one = numpy(MultiScaleViews(8, 10, (10, 16), crops=1)(x))
    assert five.shape == (2, 10, 8, 10, 3) and one.shape == (2, 4, 8, 10, 3)
    np.testing.assert_array_equal(one[:, :2], five[:, [4, 9]])
    np.testing.assert_array_equal(one[:, 2:], one[:, :2, :, ::-1])


def test_an_image_of_the_size_is_copied():
    x = RNG.integers(0, 256, (2, 12, 15, 3)).astype("uint8")
    views = MultiScaleViews(9, 9, sizes=(12,), flips=False)(x)
    np.testing.assert_array_equal(numpy(views), TenCrop(9, 9, flips=False)(x))


def test_fine_stripes_are_smoothed_when_they_shrink():
    """Without antialiasing a quarter of the size would show every fourth stripe."""
    x = np.tile([0.0, 255.0], 32)[None, None, :, None] * np.ones((1, 64, 1, 1))
    views = numpy(MultiScaleViews(16, 16, sizes=(16,), crops=1)(x))
    np.testing.assert_allclose(views[..., 2:-2, :], 127.5, atol=0.1)


def test_the_paper_s_sizes_are_the_default():
    layer = MultiScaleViews(224, 224)
    assert layer.sizes == (224, 256, 384, 480, 640)
    assert layer.compute_output_shape((None, 500, 375, 3)) == (None, 50, 224, 224, 3)


def test_contract(tmp_path):
    def make():
        return MultiScaleViews(6, 7, sizes=(7, 9))

    check_layer(make, (11, 9, 3), tmp_path, fit=False)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_dtypes(dtype):
    """The range stays that of the images; the result is float, and not rounded."""
    x = RNG.integers(0, 256, (2, 12, 15, 3)).astype(dtype)
    layer = MultiScaleViews(9, 9, sizes=(10,))
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    assert layer(keras.Input((12, 15, 3), dtype=dtype)).dtype == "float32"
    assert numpy(y).min() >= 0 and 200 < numpy(y).max() <= 255
    assert (numpy(y) % 1).any()


def test_unknown_image_size(tmp_path):
    layer = MultiScaleViews(20, 16, sizes=(20, 24))
    inputs = keras.Input((None, None, 1), dtype="uint8")
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, 20, 20, 16, 1)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    for size in ((20, 41), (31, 26), (7, 5)):
        x = RNG.integers(0, 256, (2, *size, 1)).astype("uint8")
        views = model.predict(x, verbose=0)
        np.testing.assert_allclose(views, numpy(layer(x)), atol=1e-3)
        np.testing.assert_allclose(
            views[1, 5:10, ..., 0], truth(x[1, ..., 0], 24, 20, 16), atol=2e-3
        )


def test_empty_batch():
    views = MultiScaleViews(4, 3, sizes=(4,))(ops.ones((0, 6, 5, 3)))
    assert tuple(views.shape) == (0, 10, 4, 3, 3)


def test_a_vote_over_scales():
    keras.utils.set_random_seed(0)
    classifier = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(4, "softmax")]
    )
    views = MultiScaleViews(8, 8, sizes=(8, 10, 14))
    x = RNG.uniform(size=(2, 13, 11, 3)).astype("float32")
    single = classifier.predict(numpy(views(x)).reshape(-1, 8, 8, 3), verbose=0)
    voter = VotingModel(classifier, views)
    np.testing.assert_allclose(
        voter.predict(x, verbose=0), single.reshape(2, 30, 4).mean(1), atol=1e-5
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 0}, "Received: height=0"),
        ({"width": 2.5}, r"Received: width=2\.5"),
        ({"sizes": ()}, r"Received: sizes=\(\)"),
        ({"sizes": (7, 9)}, r"integers of 8 or more.*Received: sizes=\(7, 9\)"),
        ({"sizes": (8.5,)}, r"Received: sizes=\(8\.5,\)"),
        ({"crops": 10}, "Received: crops=10"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiScaleViews(**{"height": 6, "width": 8, "sizes": (8,), **arguments})


def test_one_image_without_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"Received: input_shape=\(6, 6, 3\)"):
        MultiScaleViews(4, 4, sizes=(4,))(ops.ones((6, 6, 3)))


def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="image_data_format=channels_first"):
            MultiScaleViews(4, 4, sizes=(4,))
    finally:
        keras.config.set_image_data_format("channels_last")
