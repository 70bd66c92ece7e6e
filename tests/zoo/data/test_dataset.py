import os
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from hornbook.errors import InputError
from hornbook.zoo.data.arrays.decode import read_image, shrink
from hornbook.zoo.data.builders.glyph_rendering import glyph_classes
from hornbook.zoo.data.builders.hornbook_glyphs import GlyphsConfig, HornbookGlyphs
from hornbook.zoo.data.dataset import Dataset
from hornbook.zoo.data.readers import folder as from_folder
from hornbook.zoo.data.readers import tfds as from_tfds
from hornbook.zoo.data.splits import load_dataset

RNG = np.random.default_rng(0)


def noise(*shape):
    return RNG.integers(0, 256, shape).astype("uint8")


def write(path, picture=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(9, 9, 3) if picture is None else picture).save(path)


def write_classes(root, **counts):
    for name, count in counts.items():
        for number in range(count):
            write(root / name / f"{number:02}.png")
    return root


def load(root, **options):
    return load_dataset(f"folder:{root}", **{"size": 8, "channels": 3} | options)


def refused(root, **options):
    """The complaint about a folder."""
    with pytest.raises(InputError) as caught:
        load(root, **options)
    return str(caught.value)


def parts(dataset):
    return [
        p for p in (dataset.train, dataset.validation, dataset.test) if p is not None
    ]


def names(*splits):
    return sorted(name for split in splits for name in split.names)


class TestSpec:
    @pytest.mark.parametrize("spec", ["", "folder", "folder:", "pictures", "zip:a.zip"])
    def test_malformed(self, spec):
        with pytest.raises(
            InputError, match=r"folder:PATH, csv:FILE, tfds:NAME or npz:FILE"
        ) as e:
            load_dataset(spec, size=8, channels=3)
        assert str(e.value).endswith(f"Received: {spec}")

    def test_labels_per_class(self, tmp_path):
        for name in "ab":
            write(tmp_path / name / "1.png", noise(9, 9, 3))
        complaint = refused(tmp_path, labels_per_class=0)
        assert complaint.endswith("Received: labels_per_class=0")

    def test_import_is_light(self):
        code = (
            "import sys, hornbook.zoo, hornbook.errors, hornbook.zoo.data.splits\n"
            "print({'keras', 'tensorflow', 'tensorflow_datasets'} & set(sys.modules))"
        )
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == "set()"


class TestFolder:
    def test_one_folder_a_class(self, tmp_path):
        write_classes(tmp_path, dog=12, cat=15)
        dataset = load(tmp_path)
        assert isinstance(dataset, Dataset)
        assert dataset.name == f"folder:{tmp_path}"
        assert dataset.classes == ("cat", "dog")
        every = [f"cat/{n:02}.png" for n in range(15)]
        every += [f"dog/{n:02}.png" for n in range(12)]
        assert names(*parts(dataset)) == every
        for split in parts(dataset):
            assert split.images.shape == (len(split), 8, 8, 3)
            assert split.images.dtype == np.uint8 and split.labels.dtype == np.int64
            for image, label, name in zip(
                split.images, split.labels, split.names, strict=True
            ):
                assert name.startswith(dataset.classes[label])
                assert (image == shrink(read_image(tmp_path / name, 3), 8)).all()

    def test_grey(self, tmp_path):
        dataset = load(write_classes(tmp_path, a=3, b=3), channels=1)
        picture = read_image(tmp_path / dataset.test.names[0], 1)
        assert (dataset.test.images[0] == shrink(picture, 8)).all()

    @pytest.mark.parametrize("validation", [None, "validation", "val", "valid"])
    def test_folders_of_splits(self, tmp_path, validation):
        for split in filter(None, ["train", "test", validation]):
            write_classes(tmp_path / split, cat=2, dog=3)
        dataset = load(tmp_path)
        assert dataset.classes == ("cat", "dog")
        assert names(dataset.train) == [
            *("train/cat/00.png", "train/cat/01.png"),
            *("train/dog/00.png", "train/dog/01.png", "train/dog/02.png"),
        ]
        assert len(dataset.test) == 5
        assert all(name.startswith("test/") for name in dataset.test.names)
        if validation:
            assert len(dataset.validation) == 5
            assert dataset.validation.names[0].startswith(validation)
        else:
            assert dataset.validation is None

    def test_without_test_the_validation_split_is_it(self, tmp_path):
        for split in ("train", "val"):
            write_classes(tmp_path / split, cat=2, dog=3)
        dataset = load(tmp_path)
        assert dataset.test.names[0] == "val/cat/00.png" and len(dataset.test) == 5
        assert dataset.validation is None
        assert any(
            "the validation split is used as test split" in n for n in dataset.notices
        )

    def test_train_may_be_a_class(self, tmp_path):
        dataset = load(write_classes(tmp_path, bus=3, train=3))
        assert dataset.classes == ("bus", "train")

    def test_hidden_files_and_leftovers_are_passed_over(self, tmp_path):
        write_classes(tmp_path, a=3, b=3)
        (tmp_path / ".git").mkdir()
        (tmp_path / "__MACOSX").mkdir()
        (tmp_path / "README.txt").write_text("about")
        for name in (".hidden.png", "Thumbs.db", "desktop.ini", ".DS_Store"):
            (tmp_path / "a" / name).write_bytes(b"x")
        dataset = load(tmp_path)
        assert dataset.classes == ("a", "b")
        assert sum(map(len, parts(dataset))) == 6

    def test_names_in_any_script(self, tmp_path):
        for name in ("猫", "собака", "with space"):
            write_classes(tmp_path, **{name: 2})
            write(tmp_path / name / "ü [1].PNG")
        dataset = load(tmp_path)
        assert dataset.classes == ("with space", "собака", "猫")
        assert "猫/ü [1].PNG" in names(dataset.train, dataset.test)

    def test_name_that_is_no_text(self, tmp_path):
        write_classes(tmp_path, a=2, b=2)
        os.rename(tmp_path / "a" / "00.png", os.fsencode(tmp_path) + b"/a/\xff.png")
        dataset = load(tmp_path)
        told = names(dataset.train, dataset.test)
        assert "a/\ufffd.png" in told
        "".join(told).encode("utf-8")

    def test_home_is_expanded(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        write_classes(tmp_path / "pets", a=2, b=2)
        assert load("~/pets").classes == ("a", "b")

    def test_small_pictures_are_enlarged_and_counted(self, tmp_path):
        write_classes(tmp_path, a=2, b=2)
        write(tmp_path / "a" / "small.png", noise(7, 30, 3))
        write(tmp_path / "b" / "enough.png", noise(8, 8, 3))
        notice = "1 of 6 images are smaller than 8 pixels and were enlarged."
        assert notice in load(tmp_path).notices

    def test_progress(self, tmp_path):
        told = []
        write_classes(tmp_path, a=4, b=5)
        load(tmp_path, on_progress=lambda *each: told.append(each))
        assert told == [(done, 9) for done in range(1, 10)]

    def test_stops_at_once_when_interrupted(self, tmp_path, monkeypatch):
        read = []

        def slow_read(path, channels):
            read.append(path)
            time.sleep(0.002)
            return noise(9, 9, channels)

        def interrupt(done, total):
            raise KeyboardInterrupt

        monkeypatch.setattr(from_folder, "read_image", slow_read)
        with pytest.raises(KeyboardInterrupt):
            load(write_classes(tmp_path, a=99, b=99), on_progress=interrupt)
        assert len(read) < 99


class TestBadFolder:
    def test_no_such_folder(self, tmp_path):
        assert "does not exist" in refused(tmp_path / "nowhere")
        write(tmp_path / "a.png")
        assert "does not exist" in refused(tmp_path / "a.png")

    def test_empty_folder(self, tmp_path):
        assert "one folder of images for each class" in refused(tmp_path)

    def test_pictures_without_class_folders(self, tmp_path):
        write(tmp_path / "a.png")
        assert "one folder of images for each class" in refused(tmp_path)

    def test_class_folders_without_pictures(self, tmp_path):
        write_classes(tmp_path, a=2, b=2)
        (tmp_path / "c").mkdir()
        assert "No images in the class folder c of" in refused(tmp_path)
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "notes.txt").write_text("x")
        assert "No images in the class folders c, d of" in refused(tmp_path)
        assert "No images in" in refused(tmp_path, skip_unreadable=True)

    def test_one_class(self, tmp_path):
        assert "only one class, a" in refused(write_classes(tmp_path, a=5))

    def test_splits_of_other_names(self, tmp_path):
        write_classes(tmp_path / "training", a=2, b=2)
        write_classes(tmp_path / "testing", a=2, b=2)
        assert "No images in the class folders testing, training" in refused(tmp_path)

    def test_folder_beside_the_splits(self, tmp_path):
        write_classes(tmp_path / "train", a=2, b=2)
        write_classes(tmp_path, more=2)
        assert "not more." in refused(tmp_path)

    def test_two_validation_splits(self, tmp_path):
        for split in ("train", "val", "valid"):
            write_classes(tmp_path / split, a=2, b=2)
        assert "Two folders hold a validation split" in refused(tmp_path)

    def test_classes_of_the_splits_differ(self, tmp_path):
        write_classes(tmp_path / "train", a=2, b=2, c=2)
        write_classes(tmp_path / "test", a=2, b=2, d=2)
        assert "only one of them has c, d." in refused(tmp_path)

    def spoil(self, root):
        """Writes one file of each bad kind.

        Returns:
            Their names, and a word of what is wrong with each.
        """
        write_classes(root, a=3, b=3)
        (root / "a" / "empty.png").touch()
        (root / "a" / "notes.txt").write_text("x")
        (root / "a" / "text.jpg").write_text("no picture")
        (root / "a" / "inner").mkdir()
        (root / "a" / "gone.png").symlink_to(root / "nowhere.png")
        (root / "b" / "loop").symlink_to(root)
        (root / "b" / "circle.png").symlink_to(root / "b" / "circle.png")
        whole = (root / "b" / "00.png").read_bytes()
        (root / "b" / "cut.png").write_bytes(whole[: len(whole) // 2])
        Image.fromarray(np.ones((4, 4), "float32")).save(root / "b" / "float.tif")
        write(root / "stray.png")
        return {
            "a/empty.png": "empty",
            "a/gone.png": "broken link",
            "a/inner": "a folder in a class folder",
            "a/notes.txt": "not an image file",
            "a/text.jpg": "not an image",
            "b/circle.png": "broken link",
            "b/cut.png": "truncated",
            "b/float.tif": "floating-point",
            "b/loop": "a folder in a class folder",
            "stray.png": "in no class folder",
        }

    def test_all_bad_files_are_listed(self, tmp_path):
        bad = self.spoil(tmp_path)
        first, *lines = refused(tmp_path).splitlines()
        assert (
            first.startswith("10 files cannot be used") and "--skip-unreadable" in first
        )
        for line, (name, reason) in zip(lines, bad.items(), strict=True):
            assert line.strip().startswith(f"{name} (") and reason in line

    def test_skip_unreadable_goes_on_and_tells(self, tmp_path):
        bad = self.spoil(tmp_path)
        dataset = load(tmp_path, skip_unreadable=True)
        good = [f"{name}/0{number}.png" for name in "ab" for number in range(3)]
        assert names(*parts(dataset)) == good
        (notice,) = (each for each in dataset.notices if each.startswith("Skipped"))
        assert notice.startswith("Skipped 10 files: ")
        assert all(f"{name} (" in notice for name in bad)

    def test_long_lists_are_cut(self, tmp_path):
        write_classes(tmp_path, a=2, b=2)
        for number in range(30):
            (tmp_path / "a" / f"x{number:02}.png").touch()
        lines = refused(tmp_path).splitlines()
        assert len(lines) == 22 and lines[-1] == "  and 10 more"
        assert "x19.png (the file is empty); and 10 more." in str(
            load(tmp_path, skip_unreadable=True).notices
        )

    def test_a_class_of_bad_files_alone(self, tmp_path):
        write_classes(tmp_path, a=2, b=2)
        for path in (tmp_path / "b").iterdir():
            path.write_bytes(b"")
        assert refused(tmp_path).startswith("2 files cannot be used")
        complaint = refused(tmp_path, skip_unreadable=True)
        assert complaint == "No image of class b in train can be read."

    def test_too_few_to_split(self, tmp_path):
        complaint = refused(write_classes(tmp_path, a=2, b=1))
        assert complaint.startswith("Each class needs at least two examples")


class TestNpz:
    def save(self, tmp_path, **arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return f"npz:{tmp_path / 'data.npz'}"

    def load(self, spec, **options):
        return load_dataset(spec, **{"size": 8, "channels": 3} | options)

    def test_all_splits(self, tmp_path):
        x = noise(30, 10, 12, 3)
        y = np.arange(30) % 3
        spec = self.save(
            tmp_path,
            **{"x_train": x[:15], "y_train": y[:15]},
            **{"x_validation": x[15:21], "y_validation": y[15:21, None]},
            **{"x_test": x[21:], "y_test": y[21:]},
            classes=["red", "green", "blue"],
        )
        told = []
        dataset = self.load(spec, on_progress=lambda *each: told.append(each))
        assert dataset.classes == ("red", "green", "blue")
        found = np.concatenate([part.images for part in parts(dataset)])
        assert (found == np.stack([shrink(picture, 8) for picture in x])).all()
        assert (np.concatenate([part.labels for part in parts(dataset)]) == y).all()
        assert dataset.validation.names[:2] == ("validation[0]", "validation[1]")
        assert dataset.notices == ()
        assert told == [(done, 30) for done in range(1, 31)]

    def test_x_and_y(self, tmp_path):
        x, y = noise(20, 8, 8), np.repeat([7, -3], 10)
        dataset = self.load(self.save(tmp_path, x=x, y=y))
        assert dataset.classes == ("-3", "7")
        assert not any("enlarged" in notice for notice in dataset.notices)
        assert len(dataset.train) == 16 and len(dataset.test) == 4
        for part in parts(dataset):
            for image, label, name in zip(
                part.images, part.labels, part.names, strict=True
            ):
                place = int(name.removeprefix("train[").removesuffix("]"))
                assert (image == x[place][..., None]).all()
                assert label == (place < 10)

    def test_names_as_labels(self, tmp_path):
        x, y = noise(4, 8, 8), np.array(["dog", "cat"] * 2)
        assert self.load(self.save(tmp_path, x=x, y=y)).classes == ("cat", "dog")
        spec = self.save(tmp_path, x=x, y=y, classes=["dog", "cat"])
        dataset = self.load(spec)
        assert dataset.classes == ("dog", "cat")
        assert dataset.train.labels.tolist() == [0, 1]

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_floats_are_scaled(self, tmp_path, dtype):
        x = noise(4, 8, 8, 3)
        spec = self.save(tmp_path, x=(x / 255).astype(dtype), y=[0, 1, 0, 1])
        dataset = self.load(spec)
        assert "x_train: numbers from 0 to 1" in dataset.notices[0]
        every = {
            name: image
            for p in parts(dataset)
            for name, image in zip(p.names, p.images, strict=True)
        }
        for place in range(4):
            assert (every[f"train[{place}]"] == x[place]).all()

    def test_alpha_and_grey(self, tmp_path):
        clear = np.zeros((4, 8, 8, 4), "uint8")
        dataset = self.load(self.save(tmp_path, x=clear, y=[0, 1, 0, 1]), channels=1)
        assert dataset.train.images.shape == (2, 8, 8, 1)
        assert (dataset.train.images == 255).all()

    def test_small_pictures_are_counted(self, tmp_path):
        spec = self.save(tmp_path, x=noise(4, 5, 5), y=[0, 1, 0, 1])
        assert self.load(spec).notices[0].startswith("4 of 4 images are smaller")

    @pytest.mark.parametrize(
        ("arrays", "complaint"),
        [
            ({"images": noise(4, 8, 8)}, "x_train and y_train.*with images"),
            ({"x": noise(4, 8, 8)}, "no array y_train"),
            ({"x": noise(4, 8, 8), "y": [0, 1, 0]}, "one integer or name for each"),
            ({"x": noise(4, 8, 8), "y": np.eye(4)}, "one integer or name for each"),
            (
                {"x": noise(4, 8, 8), "y": [0.5, 1, 0, 1]},
                "one integer or name for each",
            ),
            ({"x": noise(4, 8), "y": [0, 1, 0, 1]}, r"uint8 \(4, 8\)"),
            ({"x": noise(4, 8, 8, 5), "y": [0, 1, 0, 1]}, "1, 3 or 4 channels"),
            ({"x": noise(0, 8, 8), "y": np.zeros(0, int)}, "images is empty"),
            ({"x": np.zeros((4, 8, 8), int), "y": [0, 1, 0, 1]}, "must be uint8"),
            ({"x": np.full((4, 8, 8), 1.5), "y": [0, 1, 0, 1]}, "between 0 and 1"),
            ({"x": np.full((4, 8, 8), -0.1), "y": [0, 1, 0, 1]}, "between 0 and 1"),
            ({"x": np.full((4, 8, 8), np.nan), "y": [0, 1, 0, 1]}, "between 0 and 1"),
            ({"x": noise(4, 8, 8), "y": [0, 0, 0, 0]}, "only one class, 0"),
            ({"x": noise(3, 8, 8), "y": [0, 1, 0]}, "at least two.*class 1 with 1"),
            (
                {"x": noise(4, 8, 8), "y": [0, 1, 0, 2], "classes": ["a", "b"]},
                "not one of the classes. Received: 2",
            ),
            (
                {"x": noise(4, 8, 8), "y": [0, 1, 0, 1], "classes": ["a", "a"]},
                "unique names",
            ),
            (
                {"x": noise(4, 8, 8), "y": [0, 1, 0, 1], "classes": ["a", "b", "c"]},
                "at least two examples.*class c with 0",
            ),
            (
                {
                    **{"x_train": noise(4, 8, 8), "y_train": [0, 1, 0, 1]},
                    **{"x_test": noise(1, 8, 8), "y_test": [2]},
                },
                "y_test has a label",
            ),
            (
                {"x": noise(4, 8, 8), "y": np.array([0, "a", None, 1], object)},
                "Python objects",
            ),
        ],
    )
    def test_refused(self, tmp_path, arrays, complaint):
        spec = self.save(tmp_path, **arrays)
        with pytest.raises(InputError, match=complaint):
            self.load(spec)

    def test_no_such_file(self, tmp_path):
        with pytest.raises(InputError, match="does not exist"):
            self.load(f"npz:{tmp_path / 'nowhere.npz'}")

    def test_damaged_files(self, tmp_path):
        spec = self.save(tmp_path, x=noise(4, 8, 8), y=[0, 1, 0, 1])
        path = tmp_path / "data.npz"
        whole = path.read_bytes()
        spoilt = bytearray(whole)
        spoilt[len(whole) // 3] ^= 1
        for content in (b"", b"no archive", whole[:300], bytes(spoilt)):
            path.write_bytes(content)
            with pytest.raises(InputError, match=r"damaged.*data\.npz"):
                self.load(spec)
        with path.open("wb") as file:
            np.save(file, noise(4, 8, 8))
        with pytest.raises(InputError, match=r"written by numpy\.savez"):
            self.load(spec)


class MadeUp(tfds.core.GeneratorBasedBuilder):
    """Two classes; each picture has the grey of its number, in two sizes."""

    VERSION = tfds.core.Version("1.0.0")
    SPLITS = {"train": 12, "test": 4}
    LABEL = staticmethod(lambda split, number: number % 2)
    DTYPE = np.uint8

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 1), dtype=self.DTYPE),
            "label": tfds.features.ClassLabel(names=["even", "odd"]),
            "comment": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self.SPLITS}

    def _generate_examples(self, split):
        for number in range(self.SPLITS[split]):
            image = np.full((6 + 3 * (number % 2), 12, 1), number, self.DTYPE)
            label = self.LABEL(split, number)
            yield number, {"image": image, "label": label, "comment": "-"}


class MadeUpValidation(MadeUp):
    SPLITS = {"train": 12, "validation": 4}


class MadeUpUnlabelled(MadeUp):
    LABEL = staticmethod(lambda split, number: -1 if split == "test" else number % 2)


class MadeUpTrainless(MadeUp):
    SPLITS = {"test": 4}


class MadeUpDeep(MadeUp):
    DTYPE = np.uint16


class MadeUpBroken(MadeUp):
    def _generate_examples(self, split):
        raise RuntimeError("first line\nsecond line")


class MadeUpUnreachable(MadeUp):
    url_infos = {"http://127.0.0.1:9/pictures.zip": None}


class TinyGlyphs(HornbookGlyphs):
    BUILDER_CONFIGS = [GlyphsConfig("tiny", 3, train=300, validation=100)]


class TestTfds:
    @pytest.fixture(scope="class", autouse=True)
    def data_dir(self, tmp_path_factory):
        with pytest.MonkeyPatch.context() as patch:
            folder = tmp_path_factory.mktemp("tfds")
            patch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(folder))
            yield folder

    def load(self, name, **options):
        return load_dataset(f"tfds:{name}", **{"size": 8, "channels": 3} | options)

    def refused(self, name):
        with pytest.raises(InputError) as caught:
            self.load(name)
        complaint = str(caught.value)
        assert complaint.endswith(f"Received: tfds:{name}")
        assert "\n" not in complaint
        return complaint

    def test_embedded_digits(self, data_dir, capsys):
        told = []
        dataset = self.load(
            "hornbook_digits",
            size=36,
            channels=1,
            labels_per_class=5,
            on_progress=lambda *each: told.append(each),
        )
        assert (data_dir / "hornbook_digits" / "all_per_class").is_dir()
        assert dataset.classes == tuple("0123456789")
        assert np.bincount(dataset.train.labels).tolist() == [5] * 10
        assert dataset.validation is None and len(dataset.test) == 1000
        assert told[-1] == (1797, 1797)
        assert capsys.readouterr().out == ""
        for part in (dataset.train, dataset.test):
            split = part.names[7].replace("]", ":]")
            example = next(iter(tfds.load("hornbook_digits", split=split)))
            assert (example["image"].numpy() == part.images[7]).all()
            assert example["label"].numpy() == part.labels[7]

        again = self.load("hornbook_digits", size=36, channels=1, seed=1)
        assert (again.test.images == dataset.test.images).all()
        assert len(again.train) + len(again.validation) == 797
        assert set(dataset.train.names) <= set(
            again.train.names + again.validation.names
        )

    def test_config(self):
        dataset = self.load("hornbook_digits/1_per_class", channels=1)
        assert len(dataset.train) == 10 and len(dataset.test) == 1000
        complaint = self.refused("hornbook_digits/7_per_class")
        assert "has the configs all_per_class, 1_per_class, 2_per_class" in complaint

    def test_glyphs_have_validation_as_test(self):
        dataset = self.load("tiny_glyphs", size=36)
        assert dataset.classes == tuple(glyph_classes())
        assert len(dataset.train) == 300 and len(dataset.test) == 100
        assert dataset.test.names[0] == "validation[0]"

    def test_other_data_set(self):
        dataset = self.load("made_up")
        assert dataset.classes == ("even", "odd")
        for part in (dataset.train, dataset.test):
            tones = part.images[:, 0, 0, 0]
            assert (part.images == tones[:, None, None, None]).all()
            assert (part.labels == tones % 2).all()
        assert sorted(dataset.train.images[:, 0, 0, 0]) == list(range(12))
        assert dataset.test.names == ("test[0]", "test[1]", "test[2]", "test[3]")
        assert dataset.notices[0].startswith("8 of 16 images are smaller than 8")

    def test_without_test_the_validation_split_is_it(self):
        dataset = self.load("made_up_validation")
        assert dataset.test.names[0] == "validation[0]"
        assert any(
            "the validation split is used as test split" in n for n in dataset.notices
        )

    def test_refused(self):
        assert "has no data set of this name" in self.refused("nowhere")
        assert "has no data set of this name" in self.refused("hornbook_nowhere")
        assert "cannot open the data set" in self.refused("two words")
        assert "must hold 8-bit images" in self.refused("iris")
        assert "must hold 8-bit images" in self.refused("made_up_deep")
        assert "test has images without a label" in self.refused("made_up_unlabelled")
        assert "its splits are test" in self.refused("made_up_trainless")

    def test_not_here_and_not_to_be_had(self, monkeypatch):
        assert "built (first line)" in self.refused("made_up_broken")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        complaint = self.refused("made_up_unreachable")
        assert "not on this machine" in complaint
        assert "(127.0.0.1 cannot be reached)" in complaint

    def test_made_by_another_process_meanwhile(self, monkeypatch):
        def late(builder):
            builder.download_and_prepare()
            raise OSError("the folder is there already")

        monkeypatch.setattr(from_tfds, "_reach", late)
        assert self.load("hornbook_digits/2_per_class").classes == tuple("0123456789")


@pytest.mark.slow
def test_many_files_take_little_memory(tmp_path):
    for name in "ab":
        write(tmp_path / name / "0000.bmp", noise(500, 400, 3))
        for number in range(1, 1000):
            first, other = tmp_path / name / "0000.bmp", f"{number:04}.bmp"
            os.link(first, first.with_name(other))
    code = (
        "import re\n"
        "from hornbook.zoo.data.splits import load_dataset\n"
        f"dataset = load_dataset('folder:{tmp_path}', size=36, channels=3)\n"
        "assert len(dataset.test) == 400\n"
        # Unlike getrusage, this does not begin with the parent's figure.
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 250_000  # kB; decoded, the pictures are 1.2 GB
