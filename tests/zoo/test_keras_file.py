"""A `.keras` file that carries code, is damaged or escapes its folder is refused."""

import hashlib
import json
import os
import zipfile

import keras
import numpy as np
import pytest

from hornbook.errors import InputError
from hornbook.zoo.backbones import open_backbone
from hornbook.zoo.keras_file import check_keras_file, find_code, load_keras_file


def small(*more):
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), *more])


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "plain.keras"
    small().save(path)
    return path


@pytest.fixture
def with_lambda(tmp_path):
    """Opening it would leave a mark."""
    mark = tmp_path / "ran"
    path = tmp_path / "lambda.keras"
    command = f"open({str(mark)!r}, 'w')"
    small(keras.layers.Lambda(lambda x: (eval(command), x)[1], name="trick")).save(path)
    mark.unlink(missing_ok=True)
    return path, mark


def changed(path, out, change=None, extra=()):
    """A copy of a `.keras` file with another config, or with more files in it."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json" and change:
                data = json.dumps(change(json.loads(data))).encode()
            new.writestr(name, data)
        for name in extra:
            new.writestr(name, b"evil")
    return out


def test_a_plain_file_opens(plain):
    assert find_code(plain) is None
    assert load_keras_file(plain).output_shape == (None, 2)


def test_our_own_layers_are_no_code(tmp_path):
    from hornbook.zoo.backbones.maxout_network import maxout_network

    maxout_network((2, 2, 2), units=3).save(tmp_path / "m.keras")
    assert load_keras_file(tmp_path / "m.keras").output_shape == (None, 3)


def test_a_lambda_is_refused_unless_trusted(with_lambda):
    path, mark = with_lambda
    assert find_code(path) == "a Lambda layer (trick)"
    for attempt in (load_keras_file, open_backbone):
        with pytest.raises(
            InputError, match=r"carries code.*trick.*--trust.*safe_mode=False"
        ):
            attempt(path)
    assert not mark.exists()
    load_keras_file(path, safe_mode=False)(np.zeros((1, 3)))
    assert mark.exists()


@pytest.mark.parametrize(
    ("kind", "module", "config", "said"),
    [
        ("function", "os", "system", "a call of os.system"),
        ("function", "subprocess", "run", "a call of subprocess.run"),
        ("__lambda__", "builtins", {"value": "aGk="}, "a Python function"),
        ("TFSMLayer", "keras.layers", {"name": "t"}, r"a TensorFlow program \(t\)"),
        ("Lambda", "keras.layers", {"name": "deep"}, r"a Lambda layer \(deep\)"),
    ],
)
def test_code_anywhere_in_the_config(plain, tmp_path, kind, module, config, said):
    def change(tree):
        dense = tree["config"]["layers"][1]["config"]
        dense["activation"] = {
            "module": module,
            "class_name": kind,
            "config": config,
            "registered_name": kind,
        }
        return tree

    path = changed(plain, tmp_path / "c.keras", change)
    with pytest.raises(InputError, match=said):
        load_keras_file(path)


@pytest.mark.parametrize(
    "name",
    [
        *("../evil", "assets/../../evil", "/tmp/evil-of-a-test", "..\\evil"),
        *("C:evil", "\\evil", "assets\\..\\..\\evil"),
    ],
)
@pytest.mark.parametrize("safe_mode", [False, True])
def test_nothing_is_written_outside(plain, tmp_path, name, safe_mode):
    path = changed(plain, tmp_path / "slip.keras", extra=[name])
    before = {each for each in tmp_path.parent.rglob("*") if "evil" in each.name}
    with pytest.raises(InputError, match=r"outside its folder.*evil"):
        load_keras_file(path, safe_mode=safe_mode)
    after = {each for each in tmp_path.parent.rglob("*") if "evil" in each.name}
    assert before == after
    assert not os.path.exists("/tmp/evil-of-a-test")


def test_every_flipped_byte_is_found(plain):
    """In the weights or the config, that is; a zip has bytes that say nothing."""
    whole = plain.read_bytes()
    with zipfile.ZipFile(plain) as archive:
        infos = archive.infolist()
    rng = np.random.default_rng(0)
    for info in infos:
        start = info.header_offset + 30 + len(info.filename) + len(info.extra)
        for place in rng.integers(info.file_size, size=20):
            data = bytearray(whole)
            data[start + place] ^= 1 << int(rng.integers(8))
            plain.write_bytes(data)
            with pytest.raises(InputError, match="damaged"):
                check_keras_file(plain, safe_mode=False)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file(plain, part):
    data = plain.read_bytes()
    plain.write_bytes(data[: int(part * len(data))])
    with pytest.raises(InputError, match=r"damaged, or is not a \.keras file"):
        load_keras_file(plain)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"does not exist.*none\.keras"):
        load_keras_file(tmp_path / "none.keras")


@pytest.fixture
def with_card(plain):
    """The folder of a shared model: a file, and a card with its hash."""
    digest = hashlib.sha256(plain.read_bytes()).hexdigest()
    card = {"files": {plain.name: {"sha256": digest}}}
    (plain.parent / "card.json").write_text(json.dumps(card))
    return plain


def test_a_file_of_another_hash_is_refused(with_card):
    """A whole file with other weights, which no checksum of the zip would find."""
    assert load_keras_file(with_card).output_shape == (None, 2)
    small().save(with_card)
    for attempt in (load_keras_file, open_backbone):
        with pytest.raises(InputError, match=r"was changed or replaced.*plain\.keras"):
            attempt(with_card)
    with pytest.raises(InputError, match="was changed or replaced"):
        check_keras_file(with_card, safe_mode=False)


def test_a_given_hash_goes_before_the_card(with_card):
    digest = hashlib.sha256(with_card.read_bytes()).hexdigest()
    check_keras_file(with_card, sha256=digest)
    with pytest.raises(InputError, match=f"sha256 is {digest}.*one is 00"):
        check_keras_file(with_card, sha256="00")


@pytest.mark.parametrize("text", ["", "[]", "null", '{"files": 1}', '{"files": {}}'])
def test_a_card_without_a_hash_for_the_file(plain, text):
    (plain.parent / "card.json").write_text(text)
    assert load_keras_file(plain).output_shape == (None, 2)


def test_it_is_compiled_only_if_asked(tmp_path):
    model = small()
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.keras")
    assert not load_keras_file(tmp_path / "m.keras").compiled
    assert load_keras_file(tmp_path / "m.keras", compile=True).compiled
