import itertools
import shutil

import h5py
import keras
import numpy as np
import pytest

from hornbook.errors import InputError
from hornbook.zoo.backbones import open_backbone
from hornbook.zoo.backbones import shipped_weights as weights
from hornbook.zoo.pretrain import golden_input

IDS = (
    "glyphnet.letters_grey",
    "glyphnet.letters_rgb",
    "glyphnet_small.letters_rgb",
    "resnet20.letters_rgb",
)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A copy of the shipped files that may be spoilt."""
    for part in ("cards", "weights"):
        shutil.copytree(weights.HERE / part, tmp_path / part)
    monkeypatch.setattr(weights, "HERE", tmp_path)
    return tmp_path


def test_all_are_shipped_and_small():
    assert weights.weight_ids() == list(IDS)
    for name in IDS:
        assert weights.weights_path(name).stat().st_size < 1e6


@pytest.mark.parametrize("name", IDS)
def test_features_are_those_of_the_card(name):
    backbone = open_backbone(name).model
    card = weights.read_card(name)
    assert backbone.count_params() == card["parameters"]
    assert list(backbone.input_shape[1:]) == card["input_shape"]
    features = backbone.predict(golden_input(card["input_shape"]), verbose=0)
    golden = np.array(card["golden_features"])
    assert golden.std() > 0.01
    np.testing.assert_allclose(features[:, : golden.shape[1]], golden, atol=2e-3)


@pytest.mark.parametrize("name", IDS)
def test_the_card_tells_what_a_user_must_know(name):
    card = weights.read_card(name)
    needed = {"data", "command", "seconds", "validation_accuracy", "preprocessing"}
    assert needed | {"licence", "sha256", "architecture"} <= set(card)
    assert card["validation_accuracy"] > 40 * card["chance"]


def test_raw_bytes_and_floats_give_the_same_features():
    backbone = open_backbone(IDS[1]).model
    picture = golden_input((32, 32, 3))
    np.testing.assert_array_equal(
        backbone.predict(picture, verbose=0),
        backbone.predict(picture.astype("float32"), verbose=0),
    )


def test_without_weights_it_is_another_model():
    fresh = open_backbone(IDS[1], weights=None).model
    kernel = open_backbone(IDS[1]).model.get_weights()[0]
    assert not np.allclose(fresh.get_weights()[0], kernel)


def test_no_such_backbone():
    with pytest.raises(InputError, match=r"glyphnet\.letters_rgb.*Received: resnet$"):
        open_backbone("resnet")
    with pytest.raises(InputError, match=r"glyphnet\.letters_rgb.*Received: resnet$"):
        weights.read_card("resnet")


def test_missing_file(installed):
    (installed / "weights" / f"{IDS[0]}.weights.h5").unlink()
    with pytest.raises(InputError, match="missing"):
        open_backbone(IDS[0])


def flip_a_bit(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


def truncate(path, rng):
    data = path.read_bytes()
    path.write_bytes(data[: rng.integers(len(data))])


def swap_tensors(path, rng):
    """Exchanges two tensors of one shape, which every library would load."""
    with h5py.File(path, "r+") as file:
        tensors = []
        file.visititems(
            lambda _, x: tensors.append(x) if isinstance(x, h5py.Dataset) else None
        )
        pairs = [
            (a, b)
            for a, b in itertools.combinations(tensors, 2)
            if a.shape == b.shape and not np.array_equal(a[()], b[()])
        ]
        a, b = pairs[rng.integers(len(pairs))]
        a[...], b[...] = b[()], a[()]


@pytest.mark.parametrize(
    ("mutate", "times"), [(flip_a_bit, 100), (truncate, 50), (swap_tensors, 50)]
)
def test_two_hundred_mutations_are_refused(installed, mutate, times):
    path = installed / "weights" / f"{IDS[2]}.weights.h5"
    whole = path.read_bytes()
    for seed in range(times):
        path.write_bytes(whole)
        mutate(path, np.random.default_rng(seed))
        for attempt in (weights.weights_path, open_backbone):
            with pytest.raises(InputError, match=r"damaged or was changed.*sha256"):
                attempt(IDS[2])
    path.write_bytes(whole)
    assert weights.weights_path(IDS[2]) == path


def test_keras_alone_would_load_a_changed_weight(installed):
    """Why there is a hash: the counter-case."""
    path = installed / "weights" / f"{IDS[0]}.weights.h5"
    backbone = open_backbone(IDS[0]).model
    kernel = backbone.get_weights()[0].astype("float16").tobytes()
    data = bytearray(path.read_bytes())
    place = data.find(kernel[:64])
    assert place > 0
    data[place + 1] ^= 0x40
    path.write_bytes(data)
    changed = keras.models.clone_model(backbone)
    changed.load_weights(path)
    assert not np.array_equal(changed.get_weights()[0], backbone.get_weights()[0])
