import unicodedata

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits, load_sample_images

from hornbook.zoo.data.builders.glyph_rendering import glyph_classes
from hornbook.zoo.data.builders.hornbook_digits import (
    CONFIGS,
    LABELS_PER_CLASS,
    HornbookDigits,
    scanned_digits,
    split_places,
)
from hornbook.zoo.data.builders.hornbook_glyphs import (
    GlyphsConfig,
    HornbookGlyphs,
    glyph,
)
from hornbook.zoo.data.builders.hornbook_photo_digits import (
    HornbookPhotoDigits,
    photo_digits,
)


def built(builder_class, data_dir, config):
    builder = builder_class(config=config, data_dir=data_dir)
    builder.download_and_prepare()
    return builder


def read(builder, split):
    examples = list(tfds.as_numpy(builder.as_dataset(split=split)))
    images = np.stack([example["image"] for example in examples])
    return images, np.array([example["label"] for example in examples])


def as_set(images, labels):
    return {
        (image.tobytes(), label)
        for image, label in zip(images, labels.tolist(), strict=True)
    }


class TestDigits:
    @pytest.mark.parametrize(
        ("builder_class", "source"),
        [
            (HornbookDigits, lambda: (scanned_digits()[0][..., None], None)),
            (HornbookPhotoDigits, photo_digits),
        ],
    )
    def test_splits_hold_the_digits_of_scikit_learn(
        self, tmp_path, builder_class, source
    ):
        pictures, truth = source()[0], load_digits().target
        every = built(builder_class, tmp_path, "all_per_class")
        train, test = read(every, "train"), read(every, "test")
        assert as_set(*train) == as_set(pictures[:797], truth[:797])
        assert as_set(*test) == as_set(pictures[797:], truth[797:])
        assert (len(train[0]), len(test[0])) == (797, 1000)
        assert not as_set(*train) & as_set(*test)

        few = built(builder_class, tmp_path, "5_per_class")
        images, labels = read(few, "train")
        assert np.bincount(labels).tolist() == [5] * 10
        assert as_set(images, labels) <= as_set(*train)
        assert as_set(*read(few, "test")) == as_set(*test)

    def test_every_config_keeps_the_test_digits_apart(self):
        labels = load_digits().target
        for config in CONFIGS:
            places = split_places(labels, config.labels_per_class)
            assert places["test"].tolist() == list(range(797, 1797))
            assert len(set(places["train"])) == len(places["train"])
            assert places["train"].max() < 797
            if config.labels_per_class:
                counts = np.bincount(labels[places["train"]])
                assert counts.tolist() == [config.labels_per_class] * 10
        names = [f"{count}_per_class" for count in ("all", *LABELS_PER_CLASS)]
        assert LABELS_PER_CLASS == (1, 2, 5, 10, 20, 50)
        for builder_class in (HornbookDigits, HornbookPhotoDigits):
            assert list(builder_class.builder_configs) == names

    @pytest.mark.slow
    @pytest.mark.parametrize("builder_class", [HornbookDigits, HornbookPhotoDigits])
    def test_every_config_has_the_same_test_split(self, tmp_path, builder_class):
        tests = []
        for config in CONFIGS:
            builder = built(builder_class, tmp_path, config.name)
            images, labels = read(builder, "train")
            tests.append(as_set(*read(builder, "test")))
            assert not as_set(images, labels) & tests[-1]
            if config.labels_per_class:
                assert np.bincount(labels).tolist() == [config.labels_per_class] * 10
        assert len(tests) == 7
        assert all(test == tests[0] for test in tests)

    def test_no_digit_is_twice_among_the_pictures(self):
        assert len(as_set(*scanned_digits())) == 1797

    def test_photo_digits_lie_over_disjoint_halves(self):
        images, _ = photo_digits()
        digits, _ = scanned_digits()
        photographs = load_sample_images().images
        found = {"train": [], "test": []}
        for i in range(0, 1797, 45):
            at = [
                (number, left)
                for number, photograph in enumerate(photographs)
                for _, left in places_of(images[i], digits[i] == 0, photograph)
            ]
            assert len(at) == 1
            found["train" if i < 797 else "test"] += at
        middle = photographs[0].shape[1] // 2
        assert max(left for _, left in found["train"]) + 36 <= middle
        assert min(left for _, left in found["test"]) >= middle
        for at in found.values():
            assert {number for number, _ in at} == {0, 1}


def places_of(image, without_ink, photograph):
    """Where in a photograph the pixels of an image without ink were cut out."""
    places = None
    for y, x in np.argwhere(without_ink):
        if places is None:
            inside = photograph[y : y + 392, x : x + 605]  # of 427 x 640
            places = np.argwhere((inside == image[y, x]).all(axis=-1))
        pixels = photograph[places[:, 0] + y, places[:, 1] + x]
        places = places[(pixels == image[y, x]).all(axis=-1)]
    return places.tolist()


class TestGlyphs:
    def test_no_digits(self):
        for name, drawings in glyph_classes().items():
            assert len(name) == 1
            for character in (name, *(character for _, character in drawings)):
                assert unicodedata.category(character) != "Nd"
                assert not unicodedata.normalize("NFKC", character).isdigit()

    @pytest.mark.parametrize(("channels", "pixels"), [(1, 36 * 36), (3, 36 * 36 * 3)])
    def test_same_seed_same_bytes(self, tmp_path, channels, pixels):
        builders = [
            built(
                HornbookGlyphs,
                tmp_path / folder,
                GlyphsConfig("tiny", channels, train=200, validation=100),
            )
            for folder in "ab"
        ]
        first, second = (
            sorted(builder.data_path.glob("*.tfrecord*")) for builder in builders
        )
        assert [path.name for path in first] == [path.name for path in second]
        assert len(first) == 2
        for one, other in zip(first, second, strict=True):
            assert one.read_bytes() == other.read_bytes()

        train, labels = read(builders[0], "train")
        validation, _ = read(builders[0], "validation")
        assert (len(train), len(validation)) == (200, 100)
        assert train[0].size == pixels
        every = [image.tobytes() for image in (*train, *validation)]
        assert len(set(every)) == 300
        names = builders[0].info.features["label"].names
        assert names == list(glyph_classes())
        assert np.bincount(labels, minlength=len(names)).min() >= 200 // len(names)

    def test_another_seed_is_another_drawing(self):
        (one, label), (other, same_label) = glyph(7, seed=0), glyph(7, seed=1)
        assert label == same_label
        assert (one != other).any()

    def test_configs(self):
        configs = HornbookGlyphs.builder_configs
        assert {name: each.channels for name, each in configs.items()} == {
            "grey": 1,
            "rgb": 3,
        }
