"""`hornbook_photo_digits`: handwritten digits over patches of photographs."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from hornbook.zoo.data.builders.glyph_rendering import SIZE
from hornbook.zoo.data.builders.hornbook_digits import (
    CITATION,
    CONFIGS,
    POOL,
    scanned_digits,
    split_places,
)


def photo_digits() -> tuple[np.ndarray, np.ndarray]:
    """Each digit blended, by difference, with a patch of one of two photographs.

    Training digits are drawn over the left half of a photograph and test digits over
    the right half, so that no background pixel is in both.

    Returns:
        `(images, labels)`: uint8 `(1797, 36, 36, 3)` and int `(1797,)`.
    """
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    digits, labels = scanned_digits()
    images = np.empty((*digits.shape, 3), "uint8")
    for i, digit in enumerate(digits):
        rng = np.random.default_rng([0, i])
        photograph = photographs[rng.integers(len(photographs))]
        height, width = photograph.shape[:2]
        half = 0 if i < POOL else width // 2
        x = half + rng.integers(width // 2 - SIZE + 1)
        y = rng.integers(height - SIZE + 1)
        patch = photograph[y : y + SIZE, x : x + SIZE].astype("int16")
        images[i] = np.abs(patch - digit[..., None])
    return images, labels


class HornbookPhotoDigits(tfds.core.GeneratorBasedBuilder):
    """UCI digits over photographs, in colour, 36×36: 797 to train on, 1,000 to test."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = CONFIGS

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="The digits of hornbook_digits, each the absolute difference "
            "from a patch of the photographs china.jpg or flower.jpg that scikit-learn "
            "bundles, as MNIST-M was made (Ganin and Lempitsky, ICML 2015). Training "
            "and test digits lie over disjoint halves of the photographs.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(SIZE, SIZE, 3), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://doi.org/10.24432/C50P49",
            license="CC BY 4.0 (digits); CC BY 2.0 (photographs, "
            "by danielbuechele and vultilion on Flickr)",
            citation=CITATION,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        images, labels = photo_digits()
        places = split_places(labels, self.builder_config.labels_per_class)
        return {
            split: self._generate_examples(images, labels, chosen)
            for split, chosen in places.items()
        }

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray, places: np.ndarray
    ) -> Iterator[tuple[int, dict]]:
        for place in places:
            yield int(place), {"image": images[place], "label": int(labels[place])}
