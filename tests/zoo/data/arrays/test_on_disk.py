"""Folders that are too big for memory, and folders that lie."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hornbook.errors import InputError
from hornbook.zoo.data.arrays.on_disk import ImageFile
from hornbook.zoo.data.dataset import read_source
from hornbook.zoo.data.readers import folder as from_folder
from hornbook.zoo.data.splits import load_dataset


def write_folder(root, classes, each, side=8):
    rng = np.random.default_rng(0)
    for label in range(classes):
        folder = root / f"class {label:04}"
        folder.mkdir(parents=True)
        for number in range(each):
            picture = rng.integers(0, 256, (side, side, 3), dtype="uint8")
            Image.fromarray(picture).save(folder / f"{number:05}.png")
    return f"folder:{root}"


def test_it_is_indexed_like_the_array_that_was_written():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (20, 5, 4, 3), dtype="uint8")
    with ImageFile((5, 4, 3)) as file:
        for picture in truth:
            file.add(picture)
    found = file.images()
    assert (found.shape, found.dtype, found.ndim) == (truth.shape, truth.dtype, 4)
    keys = [3, -1, slice(2, 9), [7, 7, 1], np.arange(20) % 3 == 0]
    keys += [(slice(None), slice(1, 3), slice(0, 2)), (np.array([4, 2]), 1)]
    for key in keys:
        np.testing.assert_array_equal(found[key], truth[key])
    some = found.pick([9, 3, 3])
    np.testing.assert_array_equal(some[[2, 0]], truth[[3, 9]])
    np.testing.assert_array_equal(np.asarray(some), truth[[9, 3, 3]])
    path = file.path
    del found, file
    assert path.is_file()  # as long as some of it is needed
    del some
    assert not path.exists()


def test_a_big_folder_is_the_same_from_disk(tmp_path, monkeypatch):
    spec = write_folder(tmp_path, classes=3, each=20)
    truth = load_dataset(spec, size=6, channels=3)
    monkeypatch.setattr(from_folder, "IN_MEMORY_AT_MOST", 100)
    found = load_dataset(spec, size=6, channels=3)
    for name in ("train", "validation", "test"):
        ours, theirs = getattr(found, name), getattr(truth, name)
        assert not isinstance(ours.images, np.ndarray)
        assert ours.names == theirs.names
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_array_equal(np.asarray(ours.images), theirs.images)
    few = load_dataset(spec, size=6, channels=3, labels_per_class=2, seed=3)
    assert few.train.images.shape == (6, 6, 6, 3)


def test_a_whole_run_from_disk_ends_with_the_same_bits(tmp_path, monkeypatch):
    from hornbook.zoo.runs import run
    from hornbook.zoo.runs.config import RunConfig
    from hornbook.zoo.runs.load import load_run
    from hornbook.zoo.runs.records import read_config

    data = write_folder(tmp_path / "data", classes=2, each=16)
    config = RunConfig.of({"data": data, "epochs": 2, "steps_per_epoch": 4})
    weights = []
    for name, bound in (("memory", 2**31), ("disk", 100)):
        monkeypatch.setattr(from_folder, "IN_MEMORY_AT_MOST", bound)
        made, dataset = run.create(config, tmp_path / name)
        run.execute(tmp_path / name, made, dataset)
        weights.append(load_run(tmp_path / name)[0].get_weights())
    assert (
        read_config(tmp_path / "disk")["data_sha256"]
        == (read_config(tmp_path / "memory")["data_sha256"])
    )
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_links_in_a_circle_are_bad_files(tmp_path):
    spec = write_folder(tmp_path, classes=2, each=3)
    folder = tmp_path / "class 0000"
    (folder / "self.png").symlink_to(folder / "self.png")
    (folder / "up").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(InputError) as error:
        read_source(spec, size=6, channels=3)
    assert "2 files cannot be used" in str(error.value)
    assert "self.png" in str(error.value) and "class 0000/up" in str(error.value)
    found = read_source(spec, size=6, channels=3, skip_unreadable=True)
    assert len(found.splits["train"]) == 6
    (tmp_path / "round").symlink_to(tmp_path / "round")
    found = read_source(spec, size=6, channels=3, skip_unreadable=True)
    assert found.classes == ("class 0000", "class 0001")


def test_a_file_that_vanishes_while_the_folder_is_read(tmp_path, monkeypatch):
    spec = write_folder(tmp_path, classes=2, each=4)
    victim = tmp_path / "class 0001" / "00002.png"
    read, seen = from_folder.read_image, []

    def read_and_delete(path, channels):
        if not seen:
            seen.append(victim.unlink())
        return read(path, channels)

    monkeypatch.setattr(from_folder, "read_image", read_and_delete)
    monkeypatch.setattr(from_folder, "WORKERS", 1)
    found = read_source(spec, size=6, channels=3, skip_unreadable=True)
    assert len(found.splits["train"]) == 7
    assert "class 0001/00002.png (No such file" in found.notices[0]


@pytest.mark.parametrize("bound", [100, 2**31])
def test_files_that_vanish_later_are_not_missed(tmp_path, monkeypatch, bound):
    import shutil

    monkeypatch.setattr(from_folder, "IN_MEMORY_AT_MOST", bound)
    dataset = load_dataset(write_folder(tmp_path, 2, 4), size=6, channels=3)
    shutil.rmtree(tmp_path)
    assert np.asarray(dataset.train.images).shape == (6, 6, 6, 3)


def test_a_class_with_one_picture(tmp_path):
    spec = write_folder(tmp_path / "a", classes=2, each=5)
    for path in sorted((tmp_path / "a" / "class 0001").iterdir())[1:]:
        path.unlink()
    with pytest.raises(InputError, match=r"at least two examples.*class 0001 with 1"):
        load_dataset(spec, size=6, channels=3)
    split = tmp_path / "b"
    for name in ("train", "test"):
        write_folder(split / name, classes=2, each=3)
    for path in sorted((split / "train" / "class 0001").iterdir())[1:]:
        path.unlink()
    dataset = load_dataset(f"folder:{split}", size=6, channels=3)
    assert np.bincount(dataset.train.labels).tolist() == [3, 1]
    assert dataset.validation is None


def test_near_duplicates_are_told(tmp_path):
    spec = write_folder(tmp_path / "train", classes=2, each=12, side=32)
    spec = f"folder:{tmp_path}"
    write_folder(tmp_path / "test", classes=2, each=3, side=32)
    dataset = load_dataset(spec, size=32, channels=3)
    [notice] = [text for text in dataset.notices if "nearly the same" in text]
    # All six were drawn as the first six of the training folder, of which one is held
    # out for validation.
    assert notice.startswith("5 of 6 test images")
    assert "test/class 0000/00001.png and train/class 0000/00001.png" in notice


def test_a_thousand_classes(tmp_path):
    spec = write_folder(tmp_path, classes=1000, each=2, side=3)
    dataset = load_dataset(spec, size=3, channels=3)
    assert len(dataset.classes) == 1000
    assert len(dataset.train) == len(dataset.test) == 1000


MEMORY = """
import re, sys, warnings
import keras
from keras import layers
from hornbook.zoo import fine_tune
from hornbook.zoo.data.readers import folder as from_folder
from hornbook.zoo.data.arrays.crops import CentreCrops
from hornbook.zoo.data.splits import load_dataset

def now(name="VmRSS"):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

from_folder.IN_MEMORY_AT_MOST = 2**25
inputs = keras.Input((96, 96, 3))
x = layers.Conv2D(8, 5, strides=4, name="a")(layers.Rescaling(1 / 255)(inputs))
x = layers.Conv2D(8, 3, strides=2, name="b")(layers.ReLU()(x))
backbone = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
dataset = load_dataset(f"folder:{sys.argv[1]}", size=96, channels=3)
train, validation = dataset.train, dataset.validation
tuned = fine_tune(
    backbone, (train.images, train.labels), (validation.images, validation.labels),
    class_names=dataset.classes, epochs=3, cache=sys.argv[2], batch_size=64,
)
print(len(train), len(tuned.history), now("VmHWM"))
"""


@pytest.mark.slow
def test_twenty_thousand_pictures_take_no_more_memory_than_two(tmp_path):
    """Decoded, 20,000 pictures of 96² are 553 MB."""
    peaks = []
    for each in (1000, 10_000):
        folder = tmp_path / str(each)
        write_folder(folder, classes=2, each=each, side=8)
        command = [sys.executable, "-c", MEMORY, folder, tmp_path / f"cache {each}"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        count, epochs, peak = map(int, done.stdout.split()[-3:])
        assert (count, epochs) == (each * 2 * 0.64, 3)
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 100_000, peaks  # kB
