"""Models in a zoo folder: added once, fetched whole, every change found."""

import json
import os
import sys

import fsspec
import keras
import numpy as np
import pytest
from etils.epath import gpath
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from hornbook.errors import InputError
from hornbook.zoo.share.folder import add, pull, verify


def make_run(folder, seed=0, layer=None):
    """What `zoo add` needs of a run."""
    keras.utils.set_random_seed(seed)
    folder.mkdir()
    layers = [keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    keras.Sequential([*layers, *([layer] if layer else [])]).save(
        folder / "model.keras"
    )
    config = {"backbone": "glyphnet.letters_rgb", "data": "folder:/a/my pictures/"}
    (folder / "config.json").write_text(
        json.dumps({**config, "class_names": ["a", "b"]})
    )
    (folder / "metrics.json").write_text(json.dumps({"test": {"accuracy": 0.5}}))
    (folder / "history.csv").write_text("epoch\n1\n")
    (folder / "report.html").write_text("<p>ü</p>")
    (folder / "state").mkdir()
    (folder / "state" / "big").write_text("not shared")
    return folder


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


@pytest.fixture
def without_tensorflow(monkeypatch):
    """Buckets are reached by fsspec, whatever was used before."""
    monkeypatch.setenv("EPATH_USE_TF", "false")
    gpath._is_tf_installed.cache_clear()
    yield
    gpath._is_tf_installed.cache_clear()


@pytest.fixture
def bucket(without_tensorflow):
    """An s3:// that lives in memory."""

    class Bucket(MemoryFileSystem):
        protocol = "s3"
        store = {}
        pseudo_dirs = [""]

        @classmethod
        def _strip_protocol(cls, path):
            return MemoryFileSystem._strip_protocol(path.removeprefix("s3:/"))

    before = _registry.get("s3")
    fsspec.register_implementation("s3", Bucket, clobber=True)
    Bucket.clear_instance_cache()
    yield "s3://bucket/zoo"
    _registry.pop("s3")
    if before:
        fsspec.register_implementation("s3", before, clobber=True)


def test_there_and_back(run, tmp_path):
    zoo = tmp_path / "zoo"
    card = add(run, zoo)
    assert card["id"] == "glyphnet.letters_rgb.my_pictures"
    assert card["test"] == {"accuracy": 0.5}
    assert "Apache-2.0" in card["licence"]
    assert set(card["files"]) == {
        *("model.keras", "config.json", "metrics.json", "history.csv", "report.html")
    }
    assert verify(zoo) == {card["id"]: []}
    got = pull(card["id"], zoo, tmp_path / "got")
    for name in card["files"]:
        assert (got / name).read_bytes() == (run / name).read_bytes()
    assert not [each for each in tmp_path.rglob(".new-*")]


def test_a_bucket(run, tmp_path, bucket):
    card = add(run, bucket, id="mine")
    assert add(run, bucket, id="mine") == card
    assert verify(bucket) == {"mine": []}
    got = pull("mine", bucket, tmp_path / "got")
    assert (got / "model.keras").read_bytes() == (run / "model.keras").read_bytes()
    other = make_run(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="not overwritten"):
        add(other, bucket, id="mine")


def test_the_same_again_changes_nothing_and_another_is_refused(run, tmp_path):
    zoo = tmp_path / "zoo"
    add(run, zoo, id="mine")
    times = {each: each.stat().st_mtime_ns for each in zoo.rglob("*")}
    add(run, zoo, id="mine")
    assert times == {each: each.stat().st_mtime_ns for each in zoo.rglob("*")}
    other = make_run(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match=r"another --id. Received: .*mine"):
        add(other, zoo, id="mine")
    assert verify(zoo) == {"mine": []}
    (zoo / "mine" / "report.html").write_text("changed")
    with pytest.raises(InputError, match="damaged, and is not overwritten"):
        add(run, zoo, id="mine")


def test_a_killed_add_is_not_there_until_it_is_done_again(run, tmp_path, monkeypatch):
    zoo = tmp_path / "zoo"

    def killed(model, card):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hornbook.zoo.share.folder._write_last", killed)
        with pytest.raises(KeyboardInterrupt):
            add(run, zoo, id="mine")
    with pytest.raises(InputError, match=r"no readable card\.json"):
        pull("mine", zoo, tmp_path / "got")
    assert not (tmp_path / "got").exists()
    add(run, zoo, id="mine")
    assert verify(zoo) == {"mine": []}


def spoil(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


@pytest.mark.parametrize(
    "name", ["model.keras", "config.json", "metrics.json", "history.csv", "report.html"]
)
def test_one_flipped_bit_is_found_and_nothing_is_left(run, tmp_path, name):
    zoo = tmp_path / "zoo"
    add(run, zoo, id="mine")
    spoil(zoo / "mine" / name, np.random.default_rng(0))
    [[problem]] = verify(zoo).values()
    assert f"{name} is damaged or was changed" in problem and "the card says" in problem
    with pytest.raises(InputError, match="damaged or was changed"):
        pull("mine", zoo, tmp_path / "got")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["run", "zoo"]


def test_what_is_missing_or_too_much(run, tmp_path):
    zoo = tmp_path / "zoo"
    add(run, zoo, id="mine")
    (zoo / "mine" / "history.csv").unlink()
    (zoo / "mine" / "more.txt").write_text("x")
    assert [problem.rpartition("/")[2] for problem in verify(zoo)["mine"]] == [
        "history.csv is missing",
        "more.txt is not on the card",
    ]
    with pytest.raises(InputError, match=r"file of the model is missing.*history"):
        pull("mine", zoo, tmp_path / "got")
    (zoo / "mine" / "card.json").write_text("{")
    [problem] = verify(zoo)["mine"]
    assert "readable card.json" in problem


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "a/../../evil", "..", "a\\..\\evil", "sub/evil", ""]
)
def test_no_file_is_written_outside(run, tmp_path, name):
    zoo = tmp_path / "zoo"
    card = add(run, zoo, id="mine")
    card["files"][name] = {"sha256": "0" * 64, "bytes": 4}
    (zoo / "mine" / "card.json").write_text(json.dumps(card))
    (tmp_path / "evil").write_text("here")
    with pytest.raises(InputError, match="must be letters"):
        pull("mine", zoo, tmp_path / "deep" / "got")
    assert "must be letters" in verify(zoo)["mine"][0]
    assert (tmp_path / "evil").read_text() == "here"
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize("id", ["../mine", "/mine", "a/b", ".hidden", ""])
def test_names_that_lead_elsewhere(run, tmp_path, id):
    with pytest.raises(InputError, match="must be letters"):
        add(run, tmp_path / "zoo", id=id)
    with pytest.raises(InputError, match="must be letters"):
        pull(id, tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_code_is_refused_unless_trusted(tmp_path):
    layer = keras.layers.Lambda(lambda x: x, name="trick")
    run, zoo = make_run(tmp_path / "run", layer=layer), tmp_path / "zoo"
    with pytest.raises(InputError, match=r"trick.*--trust"):
        add(run, zoo, id="mine")
    assert not zoo.exists()
    add(run, zoo, id="mine", safe_mode=False)
    with pytest.raises(InputError, match=r"trick.*--trust"):
        pull("mine", zoo, tmp_path / "got")
    assert not (tmp_path / "got").exists()
    assert pull("mine", zoo, tmp_path / "got", safe_mode=False).is_dir()


def test_a_folder_that_holds_something_else(run, tmp_path):
    zoo, got = tmp_path / "zoo", tmp_path / "got"
    add(run, zoo, id="mine")
    got.mkdir()
    (got / "precious.txt").write_text("x")
    with pytest.raises(InputError, match=r"another --to. Received: .*got"):
        pull("mine", zoo, got)
    assert os.listdir(got) == ["precious.txt"]
    pull("mine", zoo, tmp_path / "new")
    assert pull("mine", zoo, tmp_path / "new") == tmp_path / "new"
    (tmp_path / "new" / "report.html").write_text("changed")
    with pytest.raises(InputError, match="not overwritten"):
        pull("mine", zoo, tmp_path / "new")


def test_a_bucket_without_its_package(run, monkeypatch, without_tensorflow):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(InputError, match=r"gcsfs for gs://"):
        add(run, "gs://bucket/zoo")


def test_what_is_no_run_and_no_zoo(run, tmp_path):
    (run / "metrics.json").unlink()
    with pytest.raises(InputError, match=r"metrics\.json is missing"):
        add(run, tmp_path / "zoo")
    with pytest.raises(InputError, match="does not exist"):
        verify(tmp_path / "zoo")
    with pytest.raises(InputError, match=r"no readable card\.json"):
        pull("mine", tmp_path / "zoo")
    (tmp_path / "zoo").mkdir()
    with pytest.raises(InputError, match="holds no model"):
        verify(tmp_path / "zoo")
