import numpy as np
import pytest

from hornbook.zoo.data.arrays.crops import (
    centre_crops,
    crop_places,
    crops_at,
    random_crops,
)

IMAGES = np.arange(3 * 6 * 7 * 2).reshape(3, 6, 7, 2)


def test_crops_are_slices():
    tops, lefts = np.array([0, 2, 1]), np.array([3, 0, 2])
    crops = crops_at(IMAGES, tops, lefts, 4)
    for crop, image, top, left in zip(crops, IMAGES, tops, lefts, strict=True):
        np.testing.assert_array_equal(crop, image[top : top + 4, left : left + 4])


def test_each_picture_has_its_own_place_and_all_places_come_up():
    images = np.broadcast_to(np.arange(36).reshape(1, 6, 6), (4000, 6, 6))
    corners = random_crops(images, np.random.default_rng(0), 4)[:, 0, 0]
    places, counts = np.unique(corners, return_counts=True)
    assert set(places) == {6 * y + x for y in range(3) for x in range(3)}
    # Within five standard deviations of a ninth of the pictures each.
    assert (abs(counts - 4000 / 9) < 5 * np.sqrt(4000 * 8 / 81)).all()


def test_the_centre():
    np.testing.assert_array_equal(
        centre_crops(IMAGES[:, :6, :6], 4), IMAGES[:, 1:5, 1:5]
    )


@pytest.mark.parametrize("at_most", [1, 3, 4, 9, 20, 25, 1000])
def test_places_are_few_enough_spread_evenly_and_within_the_margin(at_most):
    places = np.array(crop_places(4, at_most))
    assert len(places) <= at_most
    assert len(np.unique(places, axis=0)) == len(places)
    np.testing.assert_allclose(places.mean(axis=0), [2, 2])
    assert places.min() >= 0
    assert places.max() <= 4
