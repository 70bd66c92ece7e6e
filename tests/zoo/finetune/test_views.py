import numpy as np
import pytest
from PIL import Image

from hornbook.errors import InputError
from hornbook.zoo.data.arrays.decode import shrink
from hornbook.zoo.finetune.views import build_view, picture_size, resize_pictures

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("image", "picture"), [(32, 36), (64, 72), (96, 108), (16, 20)]
)
def test_pictures_are_an_eighth_larger(image, picture):
    assert picture_size(image) == picture


def test_what_fits_is_not_touched():
    images = RNG.integers(0, 256, (3, 36, 36, 3), dtype="uint8")
    assert resize_pictures(images, 36, 3) is images


@pytest.mark.parametrize("shape", [(32, 32), (50, 40), (36, 90), (200, 300)])
def test_arrays_are_resized_as_files_are(shape):
    images = RNG.integers(0, 256, (2, *shape, 3), dtype="uint8")
    found = resize_pictures(images, 36, 3)
    np.testing.assert_array_equal(found, [shrink(each, 36) for each in images])


@pytest.mark.parametrize("shape", [(2, 40, 40), (2, 40, 40, 1)])
def test_greys_become_colours(shape):
    images = RNG.integers(0, 256, shape, dtype="uint8")
    found = resize_pictures(images, 36, 3)
    assert found.shape == (2, 36, 36, 3)
    np.testing.assert_array_equal(found[..., 0], found[..., 2])


def test_floats_are_resized_without_rounding():
    images = (255 * RNG.random((2, 90, 90, 3))).astype("float32")
    found = resize_pictures(images, 36, 3)
    for picture, small in zip(images, found, strict=True):
        for channel in range(3):
            known = Image.fromarray(picture[..., channel], "F")
            known = known.resize((36, 36), Image.Resampling.BILINEAR)
            np.testing.assert_allclose(small[..., channel], known, atol=0.01)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 9)), r"must be an array .* Received: shape=\(4, 9\)"),
        ([1, 2], "Received: shape=list"),
        (np.zeros((2, 40, 40, 1), "float32"), "3 channels; only uint8"),
    ],
)
def test_what_is_no_pictures_is_refused(images, message):
    with pytest.raises(InputError, match=message):
        resize_pictures(images, 36, 3)


def test_views_are_crops_that_a_preset_changes():
    images = RNG.integers(0, 256, (20, 36, 36, 3), dtype="uint8")
    plain = build_view(None, 32)(images, np.random.default_rng(0))
    changed = build_view("digits", 32)(images, np.random.default_rng(0))
    again = build_view("digits", 32)(images, np.random.default_rng(0))
    assert plain.shape == changed.shape == (20, 32, 32, 3)
    np.testing.assert_array_equal(changed, again)
    moved = np.abs(changed - plain).mean(axis=(1, 2, 3))
    assert len(np.unique(moved)) == 20 and moved.min() > 1
    # Every crop is a piece of its own picture.
    for picture, crop in zip(images, plain, strict=True):
        pieces = (
            picture[top : top + 32, left : left + 32]
            for top in range(5)
            for left in range(5)
        )
        assert any(np.array_equal(piece, crop) for piece in pieces)
