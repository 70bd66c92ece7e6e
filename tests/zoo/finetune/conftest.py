"""A small task that trains in seconds: three digits over photographs."""

import numpy as np
import pytest

from hornbook.zoo.data.hornbook_digits import POOL, draw_few
from hornbook.zoo.data.hornbook_photo_digits import photo_digits
from hornbook.zoo.data.sources import Dataset, Examples


def examples(images, labels, places):
    names = tuple(f"picture[{place}]" for place in places)
    return Examples(images[places], labels[places], names)


@pytest.fixture(scope="session")
def three_digits():
    """`make(validation=False)` gives a data set of the digits 0, 1 and 2."""
    images, labels = photo_digits()

    def make(validation=False):
        few = draw_few(labels[:POOL], 6, seed=0)
        few = few[labels[few] < 3]
        test = POOL + np.flatnonzero(labels[POOL:] < 3)[:60]
        held = test[:20] if validation else None
        return Dataset(
            name="three digits",
            classes=("zero", "one", "two"),
            train=examples(images, labels, few),
            validation=None if held is None else examples(images, labels, held),
            test=examples(images, labels, test),
            notices=("A notice.",),
        )

    return make
