"""KerasHub's backbones, from folders that it wrote itself, without a network."""

import sys

import keras
import keras_hub
import numpy as np
import pytest

from hornbook.errors import InputError
from hornbook.zoo.backbones import open_backbone
from hornbook.zoo.backbones.keras_hub import hub_kinds, hub_presets

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype="uint8")
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "the"]
VOCABULARY = [*WORDS, *LETTERS, *(f"##{each}" for each in LETTERS)]
TINY = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16}


@pytest.fixture(scope="module")
def image_preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image")
    body = keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3), patch_size=8, mlp_dim=32, **TINY
    )
    body.save_to_preset(str(folder))
    converter = keras_hub.layers.ViTImageConverter(
        image_size=(32, 32), scale=[1 / 60, 1 / 61, 1 / 62], offset=[-2, -1.9, -1.8]
    )
    converter.save_to_preset(str(folder))
    return folder


@pytest.fixture(scope="module")
def text_preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    body = keras_hub.models.BertBackbone(
        vocabulary_size=len(VOCABULARY),
        intermediate_dim=32,
        max_sequence_length=16,
        **TINY,
    )
    body.save_to_preset(str(folder))
    keras_hub.tokenizers.BertTokenizer(VOCABULARY).save_to_preset(str(folder))
    return folder


def check_groups(backbone, blocks):
    paths = [path for group in backbone.groups for path in group]
    assert paths == [v.path for v in backbone.model.trainable_variables]
    assert len(set(paths)) == len(paths)
    assert len(backbone.groups) == blocks


def test_pictures(image_preset, tmp_path):
    backbone = open_backbone(f"hub:{image_preset}")
    check_groups(backbone, 1 + 2)
    model = backbone.model
    features = model.predict(PIXELS, verbose=0)
    assert features.shape == (3, 16)

    converter = keras_hub.layers.ImageConverter.from_preset(str(image_preset))
    body = keras_hub.models.Backbone.from_preset(str(image_preset))
    converted = keras.ops.convert_to_tensor(converter(PIXELS.astype("float32")))
    want = keras.ops.mean(body(converted), axis=1)
    np.testing.assert_allclose(features, want, atol=1e-5)

    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(PIXELS, verbose=0), features)


def test_convolutions_are_pooled_and_grouped(tmp_path):
    keras.utils.set_random_seed(0)
    body = keras_hub.models.DenseNetBackbone(
        stackwise_num_repeats=[2, 1], image_shape=(32, 32, 3)
    )
    body.save_to_preset(str(tmp_path))
    backbone = open_backbone(f"hub:{tmp_path}")
    check_groups(backbone, 1 + 2 + 1)
    assert backbone.card["has_batchnorm"]
    # The bound is near float32's own steps, so the truth is summed in float64.
    want = body.predict(PIXELS, verbose=0).mean(axis=(1, 2), dtype="float64")
    np.testing.assert_allclose(
        backbone.model.predict(PIXELS, verbose=0), want, atol=1e-5
    )
    fresh = open_backbone(f"hub:{tmp_path}", weights=None)
    assert not np.allclose(fresh.model.weights[0], backbone.model.weights[0])


def test_pictures_have_the_size_that_the_preset_says(tmp_path):
    body = keras_hub.models.DenseNetBackbone(
        stackwise_num_repeats=[1], image_shape=(None, None, 3)
    )
    body.save_to_preset(str(tmp_path))
    assert open_backbone(f"hub:{tmp_path}").model.input_shape == (None, 224, 224, 3)
    converter = keras_hub.layers.DenseNetImageConverter(image_size=(48, 48))
    converter.save_to_preset(str(tmp_path))
    backbone = open_backbone(f"hub:{tmp_path}")
    assert backbone.model.input_shape == (None, 48, 48, 3)
    assert backbone.card["fine_tuning"]["image_size"] == 48
    other = open_backbone(f"hub:{tmp_path}", input_shape=(32, 32, 3))
    assert other.model.input_shape == (None, 32, 32, 3)


def test_text_is_classified_from_strings(text_preset, tmp_path):
    backbone = open_backbone(f"hub:{text_preset}")
    check_groups(backbone, 1 + 2)
    texts = ["good film", "the good film", "bad film", "the bad film"] * 8
    labels = np.array([1, 1, 0, 0] * 8)
    tokens = backbone.preprocess(texts)
    body = keras_hub.models.Backbone.from_preset(str(text_preset))
    np.testing.assert_allclose(
        backbone.model.predict(tokens, verbose=0),
        body.predict(tokens, verbose=0)["pooled_output"],
        atol=1e-5,
    )

    head = keras.layers.Dense(1, activation="sigmoid")
    classifier = keras.Model(backbone.model.input, head(backbone.model.output))
    classifier.compile(keras.optimizers.Adam(1e-2), "binary_crossentropy")
    classifier.fit(tokens, labels, epochs=10, verbose=0)
    scores = classifier.predict(tokens, verbose=0)[:, 0]
    assert ((scores > 0.5) == labels).all()

    classifier.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(tokens, verbose=0)[:, 0], scores)


def test_padding_does_not_count(tmp_path):
    """Without a pooled output, the mean is over the tokens that are there."""
    body = keras_hub.models.DistilBertBackbone(
        vocabulary_size=len(VOCABULARY),
        intermediate_dim=32,
        max_sequence_length=16,
        **TINY,
    )
    body.save_to_preset(str(tmp_path))
    tokenizer = keras_hub.tokenizers.DistilBertTokenizer(VOCABULARY)
    tokenizer.save_to_preset(str(tmp_path))
    backbone = open_backbone(f"hub:{tmp_path}")
    tokens = backbone.preprocess(["the good film", "bad"])
    assert tokens["token_ids"].shape[1] == 16
    hidden = body.predict(tokens, verbose=0)
    mask = np.asarray(tokens["padding_mask"])
    want = [row[there].mean(axis=0) for row, there in zip(hidden, mask, strict=True)]
    np.testing.assert_allclose(
        backbone.model.predict(tokens, verbose=0), want, atol=1e-5
    )


def test_what_can_not_be_had(tmp_path):
    with pytest.raises(InputError, match=r"cannot open the preset.*nowhere"):
        open_backbone(f"hub:{tmp_path / 'nowhere'}")
    body = keras_hub.models.BertBackbone(
        vocabulary_size=50, intermediate_dim=32, max_sequence_length=16, **TINY
    )
    body.save_to_preset(str(tmp_path))
    with pytest.raises(InputError, match="no tokenizer"):
        open_backbone(f"hub:{tmp_path}")


def test_without_kerashub(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(InputError, match=r"pip install 'hornbook\[hub\]'"):
        open_backbone("hub/resnet_50_imagenet")


def test_presets_are_of_pictures_or_text():
    names = {cls.__name__: kind for cls, kind in hub_kinds().items()}
    assert names["ResNetBackbone"] == names["ViTBackbone"] == "image"
    assert names["BertBackbone"] == names["GPT2Backbone"] == "text"
    for other in ("WhisperBackbone", "CLIPBackbone", "T5Backbone", "SAMBackbone"):
        assert other not in names
    cards = {card["id"]: card for card in hub_presets()}
    assert cards["hub/resnet_50_imagenet"]["parameters"] == 23561152
    assert cards["hub/bert_tiny_en_uncased"]["kind"] == "text"
