import numpy as np
import pytest
from PIL import Image

from hornbook.zoo.data.near_duplicates import (
    average_hash,
    difference_hash,
    find_near_duplicates,
)


def pictures(count, seed=0, side=32, channels=3):
    """Smooth random pictures, as unlike each other as photographs are."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 6, 6, channels), dtype="uint8")
    big = [
        Image.fromarray(each.squeeze()).resize((side, side), Image.Resampling.BICUBIC)
        for each in small
    ]
    return np.stack([np.asarray(each).reshape(side, side, channels) for each in big])


def bits(number):
    return [int(bit) for bit in f"{int(number):064b}"]


@pytest.mark.parametrize("channels", [1, 3])
def test_hashes_against_numpy(channels):
    rng = np.random.default_rng(1)
    # Blocks of whole pixels, so that NumPy's mean of a block is the scaled picture.
    picture = rng.integers(0, 256, (72, 72, 1), dtype="uint8").repeat(channels, -1)
    grey = picture[..., 0].astype(float)
    fields = grey.reshape(8, 9, 8, 9).mean(axis=(1, 3))
    expected = (fields > fields.mean()).ravel()
    wrong = np.array(bits(average_hash(picture))) != expected
    # Pillow rounds to whole levels: only fields at the very mean may differ.
    assert (np.abs(fields - fields.mean()).ravel()[wrong] < 1).all()
    fields = grey.reshape(8, 9, 9, 8).mean(axis=(1, 3))
    expected = (fields[:, :-1] < fields[:, 1:]).ravel()
    wrong = np.array(bits(difference_hash(picture))) != expected
    assert (np.abs(np.diff(fields)).ravel()[wrong] <= 1).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_changed_copies_are_found_and_nothing_else(channels):
    train, other = pictures(60, 0, 36, channels), pictures(40, 1, 36, channels)
    assert find_near_duplicates(train, other) == []
    copies = train[[5, 40, 7]]
    rng = np.random.default_rng(2)
    noisy = (copies + rng.normal(0, 3, copies.shape)).clip(0, 255).astype("uint8")
    scaled = [
        Image.fromarray(each.squeeze()).resize((30, 30)).resize((36, 36))
        for each in copies
    ]
    scaled = np.stack([np.asarray(each).reshape(36, 36, channels) for each in scaled])
    brighter = (copies * 0.97 + 5).astype("uint8")
    for changed in (copies, noisy, scaled, brighter):
        test = np.concatenate([other[:2], changed])
        assert find_near_duplicates(train, test) == [(5, 2), (40, 3), (7, 4)]
    mirrored = copies[:, :, ::-1]
    assert find_near_duplicates(train, mirrored) == []


def test_hashes_alone_do_not_decide():
    """A grey field and a white one have the same hashes."""
    grey, white = (np.full((1, 16, 16, 3), level, "uint8") for level in (90, 250))
    assert average_hash(grey[0]) == average_hash(white[0])
    assert find_near_duplicates(grey, white) == []
    assert find_near_duplicates(grey, grey) == [(0, 0)]


@pytest.mark.slow
def test_handwritten_digits_are_not_all_alike():
    from hornbook.zoo.data.builders.hornbook_digits import POOL
    from hornbook.zoo.data.builders.hornbook_photo_digits import photo_digits

    images, _ = photo_digits()
    assert len(find_near_duplicates(images[:POOL], images[POOL:])) < 5
