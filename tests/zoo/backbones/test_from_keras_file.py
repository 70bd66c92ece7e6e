import keras
import numpy as np
import pytest
from keras import layers

from hornbook.errors import InputError
from hornbook.zoo.backbones import open_backbone
from hornbook.zoo.backbones.from_keras_file import cut_head
from hornbook.zoo.finetune.head import build_head
from hornbook.zoo.finetune.inference_model import build_inference_model

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype="uint8")


@pytest.mark.parametrize("views", ["none", "five"])
def test_a_fine_tuned_model_is_cut_at_its_head(tmp_path, views):
    native = open_backbone("glyphnet_small.letters_rgb").model
    crops = keras.Input(native.input_shape[1:])
    outputs = build_head(64, 3)(native(crops))
    classifier = keras.Model(crops, outputs, name="classifier")
    run = tmp_path / "run"
    run.mkdir()
    build_inference_model(classifier, 36, views, "mean").save(run / "model.keras")
    for place in (run, run / "model.keras"):
        backbone = open_backbone(place)
        assert backbone.card["features"] == 64
        np.testing.assert_allclose(
            backbone.model.predict(PIXELS, verbose=0),
            native.predict(PIXELS, verbose=0),
            atol=1e-6,
        )
    paths = [path for group in backbone.groups for path in group]
    assert paths == [v.path for v in backbone.model.trainable_variables]
    assert len(backbone.groups) > 4


def picture_model(*head):
    model = [keras.Input((32, 32, 3)), layers.Conv2D(4, 3, name="conv"), *head]
    return keras.Sequential(model)


@pytest.mark.parametrize(
    ("head", "features"),
    [
        ((layers.GlobalMaxPooling2D(), layers.Dense(9), layers.Softmax()), 4),
        ((layers.GlobalMaxPooling2D(), layers.Dropout(0.5), layers.Dense(2)), 4),
        ((layers.Flatten(),), 30 * 30 * 4),
        ((), 4),
    ],
)
def test_where_the_head_begins(head, features):
    assert cut_head(picture_model(*head)).output_shape == (None, features)


def test_a_backbone_from_a_file_keeps_its_weights(tmp_path):
    native = open_backbone("resnet20").model
    native.save(tmp_path / "b.keras")
    backbone = open_backbone(str(tmp_path / "b.keras"))
    np.testing.assert_array_equal(
        backbone.model.predict(PIXELS, verbose=0), native.predict(PIXELS, verbose=0)
    )
    assert len(backbone.groups) == 19
    fresh = open_backbone(tmp_path / "b.keras", weights=None)
    assert not np.allclose(fresh.model.weights[0], native.weights[0])


def test_what_is_no_backbone(tmp_path):
    keras.Sequential([keras.Input((3,)), layers.Dense(2)]).save(tmp_path / "h.keras")
    with pytest.raises(InputError, match="no layers before its head"):
        open_backbone(tmp_path / "h.keras")
    picture_model(layers.Reshape((30, 120))).save(tmp_path / "r.keras")
    with pytest.raises(InputError, match=r"must have the shape \(batch, n\)"):
        open_backbone(tmp_path / "r.keras")
    with pytest.raises(InputError, match=r"no model\.keras"):
        open_backbone(tmp_path)
    picture_model().save(tmp_path / "p.keras")
    with pytest.raises(InputError, match=r"cannot be changed.*\(64, 64, 3\)"):
        open_backbone(tmp_path / "p.keras", input_shape=(64, 64, 3))
