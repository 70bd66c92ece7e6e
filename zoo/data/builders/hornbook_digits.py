"""`hornbook_digits`: UCI's handwritten digits as a TFDS data set."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from hornbook.zoo.data.arrays.few_labels import draw_few
from hornbook.zoo.data.builders.glyph_rendering import SIZE, upsample_scan

LABELS_PER_CLASS = (1, 2, 5, 10, 20, 50)
POOL = 797  # of the 1,797 digits, in scikit-learn's order; the other 1,000 are the test

CITATION = """\
@misc{alpaydin1998optical,
  title  = {Optical Recognition of Handwritten Digits},
  author = {E. Alpaydin and C. Kaynak},
  year   = {1998},
  publisher = {UCI Machine Learning Repository},
  doi    = {10.24432/C50P49},
}"""


class FewLabels(tfds.core.BuilderConfig):
    """How many labelled examples of each class the training split holds."""

    def __init__(self, labels_per_class: int | None = None) -> None:
        many = "all" if labels_per_class is None else str(labels_per_class)
        text = f"{many} labelled examples of each class to train on"
        super().__init__(name=f"{many}_per_class", version="1.0.0", description=text)
        self.labels_per_class = labels_per_class


CONFIGS = [FewLabels(), *map(FewLabels, LABELS_PER_CLASS)]


def scanned_digits() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 digits that scikit-learn bundles.

    Returns:
        `(images, labels)`: uint8 `(1797, 36, 36)` and int `(1797,)`. The first 797 are
        for training.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.stack([upsample_scan(image) for image in digits.images]), digits.target


def split_places(
    labels: np.ndarray, labels_per_class: int | None
) -> dict[str, np.ndarray]:
    """Indices of the training examples (drawn with seed 0) and of the test examples."""
    train = draw_few(labels[:POOL], labels_per_class, seed=0)
    return {"train": train, "test": np.arange(POOL, len(labels))}


class HornbookDigits(tfds.core.GeneratorBasedBuilder):
    """UCI digits, grey, 36×36: 797 to train on and 1,000 to test on, never mixed."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = CONFIGS

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="The 1,797 handwritten digits of UCI's test set, which "
            "scikit-learn bundles, scaled from 8×8 to 36×36 pixels. The last 1,000 are "
            "the test split. The configs with few labels draw the training split with "
            "seed 0.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(SIZE, SIZE, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://doi.org/10.24432/C50P49",
            license="CC BY 4.0",
            citation=CITATION,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        images, labels = scanned_digits()
        places = split_places(labels, self.builder_config.labels_per_class)
        return {
            split: self._generate_examples(images[..., None], labels, chosen)
            for split, chosen in places.items()
        }

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray, places: np.ndarray
    ) -> Iterator[tuple[int, dict]]:
        for place in places:
            yield int(place), {"image": images[place], "label": int(labels[place])}
