"""`hornbook_glyphs`: rendered letters and symbols, to pretrain on."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from hornbook.zoo.data.builders.backgrounds import lay_over, procedural_background
from hornbook.zoo.data.builders.glyph_rendering import SIZE, glyph_classes, render_glyph

TRAIN, VALIDATION = 80_000, 4_000


class GlyphsConfig(tfds.core.BuilderConfig):
    """Grey ink on black, or in colour over procedural backgrounds."""

    def __init__(
        self,
        name: str,
        channels: int,
        train: int = TRAIN,
        validation: int = VALIDATION,
    ) -> None:
        text = "grey ink on black" if channels == 1 else "in colour over backgrounds"
        super().__init__(name=name, version="1.0.0", description=text)
        self.channels = channels
        self.examples = {"train": train, "validation": validation}


def glyph(number: int, seed: int = 0) -> tuple[np.ndarray, int]:
    """One grey example: the classes alternate, the drawing is random.

    Args:
        number: Index of the example; each is drawn from a random state of its own.
        seed: Random seed of the data set.

    Returns:
        `(image, label)`: uint8 `(36, 36)` and the index of the class in
        `glyph_classes()`.
    """
    rng = np.random.default_rng([seed, number])
    drawings = list(glyph_classes().values())
    label = number % len(drawings)
    font, character = drawings[label][rng.integers(len(drawings[label]))]
    return render_glyph(font, character, rng), label


class HornbookGlyphs(tfds.core.GeneratorBasedBuilder):
    """Letters and symbols, no digits, rendered from fonts and bent, 36×36."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        GlyphsConfig("grey", channels=1),
        GlyphsConfig("rgb", channels=3),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        shape = (SIZE, SIZE, self.builder_config.channels)
        return tfds.core.DatasetInfo(
            builder=self,
            description="Latin, Greek and Cyrillic letters and symbols in the fonts "
            "that matplotlib bundles, with random stroke, affine pose, wobble, blur "
            "and noise; six in ten at the resolution of UCI's digits. No digits.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=shape, dtype=np.uint8),
                    "label": tfds.features.ClassLabel(names=list(glyph_classes())),
                }
            ),
            supervised_keys=("image", "label"),
            license="Pictures: CC0. Fonts: see FONTS.md beside the builder.",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        # Validation comes after every training example, so that both are new drawings.
        train, validation = self.builder_config.examples.values()
        return {
            "train": self._generate_examples(0, train),
            "validation": self._generate_examples(TRAIN, validation),
        }

    def _generate_examples(self, first: int, count: int) -> Iterator[tuple[int, dict]]:
        for number in range(first, first + count):
            ink, label = glyph(number)
            if self.builder_config.channels == 1:
                image = ink[..., None]
            else:
                rng = np.random.default_rng([1, number])
                background = procedural_background(rng, SIZE)
                image = lay_over(ink[None], background[None], rng)[0]
            yield number, {"image": image, "label": label}
