import keras
import numpy as np
import pytest
from keras import layers

from hornbook.zoo.backbones import open_backbone
from hornbook.zoo.finetune.head import build_head
from hornbook.zoo.finetune.inference_model import build_inference_model

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (4, 36, 36, 3), dtype="uint8")


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(0)
    backbone = open_backbone("glyphnet.letters_rgb").model
    crops = keras.Input((32, 32, 3))
    return keras.Model(crops, build_head(128, 10)(backbone(crops)))


@pytest.mark.parametrize("test_crops", ["none", "five", "ten"])
def test_it_takes_raw_pictures_of_any_size_and_is_saved(
    classifier, test_crops, tmp_path
):
    model = build_inference_model(classifier, 36, test_crops, "mean")
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert model.input.dtype == "uint8"
    stored = again.predict(PICTURES, verbose=0)
    np.testing.assert_allclose(stored.sum(axis=1), 1, atol=1e-5)
    corners = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    if test_crops == "none":
        corners = corners[-1:]
    crops = [PICTURES[:, top : top + 32, left : left + 32] for top, left in corners]
    if test_crops == "ten":
        crops += [each[:, :, ::-1] for each in crops]
    expected = np.mean([classifier.predict(each, verbose=0) for each in crops], axis=0)
    np.testing.assert_allclose(stored, expected, atol=1e-5)
    # Each pixel doubled, then halved again: nearly the same picture.
    big = np.repeat(np.repeat(PICTURES, 2, axis=1), 2, axis=2)
    np.testing.assert_allclose(again.predict(big, verbose=0), stored, atol=0.15)


def test_it_infers_when_it_is_called(classifier):
    """Keras's picture layers train by default, and so would all that follows them."""
    model = build_inference_model(classifier, 36, "none", "mean")
    pictures = RNG.integers(0, 256, (4, 40, 40, 3), dtype="uint8")
    before = model.get_weights()
    called = keras.ops.convert_to_numpy(model(pictures))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_allclose(called, model.predict(pictures, verbose=0), atol=0.01)


def test_without_crops_it_is_made_of_keras_alone(classifier):
    model = build_inference_model(classifier, 32, "none", "mean")
    kinds = {type(layer).__module__.partition(".")[0] for layer in model.layers}
    assert kinds == {"keras"}
    assert any(isinstance(layer, layers.Resizing) for layer in model.layers)
