import keras
import numpy as np
import pytest
from contract import check_layer, numpy
from keras import layers, ops
from PIL import Image

from hornbook.recipes.inference.full_image_view import FullImageView
from hornbook.recipes.inference.voting_model import VotingModel

RNG = np.random.default_rng(0)


def resized(x, height, width):
    """Pillow's antialiased bilinear resize of one channel, in float."""
    image = Image.fromarray(x.astype("float32"))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("shape", [(30, 41), (53, 29), (6, 5), (12, 10)])
def test_stretched_is_pillow_s_resize(shape):
    x = RNG.uniform(0, 255, shape)
    views = numpy(FullImageView(12, 10)(x[None, :, :, None]))
    assert views.shape == (1, 1, 12, 10, 1)
    np.testing.assert_allclose(views[0, 0, ..., 0], resized(x, 12, 10), atol=2e-3)


@pytest.mark.parametrize("shape", [(40, 20), (20, 40), (4, 2), (24, 24)])
def test_padded_keeps_the_aspect_ratio(shape):
    """The image by Pillow, in the middle of what fills the rest."""
    x = RNG.uniform(0, 255, shape)
    layer = FullImageView(8, 8, pad_to_aspect_ratio=True, fill_value=7.0)
    height, width = (8 * side // max(shape) for side in shape)
    top, left = (8 - height) // 2, (8 - width) // 2
    expected = np.full((8, 8), 7.0)
    expected[top : top + height, left : left + width] = resized(x, height, width)
    view = numpy(layer(x[None, :, :, None]))[0, 0, ..., 0]
    np.testing.assert_allclose(view, expected, atol=2e-3)


def test_padding_of_a_view_that_is_no_square():
    layer = FullImageView(6, 12, pad_to_aspect_ratio=True, fill_value=-1.0)
    view = numpy(layer(np.full((1, 30, 31, 1), 255.0)))[0, 0, ..., 0]
    expected = np.full((6, 12), 255.0)  # 6.2 pixels wide: six centres are in
    expected[:, :3] = expected[:, 9:] = -1
    np.testing.assert_allclose(view, expected, atol=1e-3)


def test_mirror_views_in_one_line():
    keras.utils.set_random_seed(0)
    classifier = keras.Sequential(
        [keras.Input((8, 9, 3)), layers.Flatten(), layers.Dense(4, "softmax")]
    )
    x = RNG.uniform(size=(3, 8, 9, 3)).astype("float32")
    voter = VotingModel(classifier, FullImageView(8, 9, flips=True))
    both = [classifier.predict(images, verbose=0) for images in (x, x[:, :, ::-1])]
    np.testing.assert_allclose(
        voter.predict(x, verbose=0), np.mean(both, axis=0), atol=1e-6
    )
    alone = VotingModel(classifier, FullImageView(8, 9))
    np.testing.assert_allclose(alone.predict(x, verbose=0), both[0], atol=1e-6)


@pytest.mark.parametrize("pad_to_aspect_ratio", [True, False])
def test_contract(tmp_path, pad_to_aspect_ratio):
    def make():
        return FullImageView(7, 6, pad_to_aspect_ratio, flips=True)

    check_layer(make, (11, 9, 3), tmp_path, fit=False)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_dtypes(dtype):
    x = RNG.integers(0, 256, (2, 12, 15, 3)).astype(dtype)
    layer = FullImageView(9, 9)
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    assert layer(keras.Input((12, 15, 3), dtype=dtype)).dtype == "float32"
    assert numpy(y).min() >= 0 and 150 < numpy(y).max() <= 255
    assert (numpy(y) % 1).any()


@pytest.mark.parametrize("pad_to_aspect_ratio", [True, False])
def test_unknown_image_size(pad_to_aspect_ratio):
    layer = FullImageView(12, 10, pad_to_aspect_ratio)
    inputs = keras.Input((None, None, 1), dtype="uint8")
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, 1, 12, 10, 1)
    for size in ((20, 41), (31, 26), (7, 5)):
        x = RNG.integers(0, 256, (2, *size, 1)).astype("uint8")
        views = model.predict(x, verbose=0)
        np.testing.assert_allclose(views, numpy(layer(x)), atol=1e-3)


def test_empty_batch():
    views = FullImageView(4, 3, flips=True)(ops.ones((0, 6, 5, 3)))
    assert tuple(views.shape) == (0, 2, 4, 3, 3)


@pytest.mark.parametrize(
    ("size", "message"),
    [((0, 3), "Received: height=0"), ((3, 2.5), r"Received: width=2\.5")],
)
def test_bad_sizes(size, message):
    with pytest.raises(ValueError, match=message):
        FullImageView(*size)


def test_one_image_without_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"Received: input_shape=\(6, 6, 3\)"):
        FullImageView(4, 4)(ops.ones((6, 6, 3)))


def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="image_data_format=channels_first"):
            FullImageView(4, 4)
    finally:
        keras.config.set_image_data_format("channels_last")
