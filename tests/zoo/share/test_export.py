"""Exports answer as the model does, in the program they are for, or are not kept."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from hornbook.errors import InputError
from hornbook.zoo.backbones import open_backbone
from hornbook.zoo.finetune.head import build_head
from hornbook.zoo.finetune.inference_model import build_inference_model
from hornbook.zoo.share import export
from hornbook.zoo.share.export import export_run, make_exportable

PIXELS = np.random.default_rng(1).integers(0, 256, (3, 36, 36, 3), dtype="uint8")


def inference_model(views):
    """A fine-tuned model whose BatchNormalization and dropout would be noticed."""
    keras.utils.set_random_seed(0)
    backbone = open_backbone("glyphnet_small.letters_rgb").model
    crops = keras.Input(backbone.input_shape[1:])
    outputs = build_head(64, 3)(backbone(crops))
    classifier = keras.Model(crops, outputs, name="classifier")
    return build_inference_model(classifier, 36, views, "mean")


@pytest.fixture(params=["none", "five"])
def run(request, tmp_path):
    inference_model(request.param).save(tmp_path / "model.keras")
    (tmp_path / "config.json").write_text(json.dumps({"picture_size": 36}))
    return tmp_path


def truth(run):
    model = keras.models.load_model(run / "model.keras")
    return model.predict(PIXELS, verbose=0)


@pytest.mark.heavy
@pytest.mark.parametrize("format", ["savedmodel", "onnx", "tflite", "openvino"])
def test_the_same_outputs(run, format):
    done = export_run(run, format)
    assert done.path == run / f"export-{format}{export.FORMATS[format].ending}"
    assert done.difference <= 1e-4 and done.checked == 4
    assert 0.05 < done.megabytes < 5
    outputs = np.asarray(export.FORMATS[format].open(done.path)(PIXELS))
    np.testing.assert_allclose(outputs, truth(run), atol=1e-4)
    assert truth(run).std() > 0.01
    assert not list(run.glob(".new-*"))
    with pytest.raises(InputError, match="exists already"):
        export_run(run, format)


TORCH = """
import sys, json
import numpy as np
from hornbook.zoo.share.export import FORMATS, export_run
done = export_run(sys.argv[1], "torch")
pixels = np.random.default_rng(1).integers(0, 256, (3, 36, 36, 3), dtype="uint8")
run = FORMATS["torch"].open(done.path)
print(json.dumps([run(pixels).tolist(), run(pixels[:1]).tolist()]))
"""


@pytest.mark.heavy
def test_torch(run):
    """Another backend opens the same file, and what it exports answers the same."""
    done = subprocess.run(
        [sys.executable, "-c", TORCH, str(run)],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    three, one = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(three, truth(run), atol=1e-4)
    np.testing.assert_allclose(one, truth(run)[:1], atol=1e-4)


def test_the_exported_model_answers_as_the_run_and_stays_as_it_is():
    model = inference_model("none")
    want = model.predict(PIXELS, verbose=0)
    before = [np.array(v) for v in model.non_trainable_variables]
    told = make_exportable(model, 36)
    np.testing.assert_allclose(told(PIXELS), want, atol=1e-5)
    np.testing.assert_allclose(make_exportable(model, 50).input_shape[1:3], (50, 50))
    for variable, old in zip(model.non_trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, old)


def test_other_outputs_are_not_kept(run, monkeypatch):
    def wrong(path):
        return lambda pictures: np.full((len(pictures), 3), 0.5)

    form = export.Format("tf_saved_model", "", wrong, "")
    monkeypatch.setitem(export.FORMATS, "savedmodel", form)
    before = sorted(each.name for each in run.iterdir())
    with pytest.raises(InputError, match=r"to savedmodel differ by .* not kept"):
        export_run(run, "savedmodel")
    assert sorted(each.name for each in run.iterdir()) == before


def test_what_can_not_be_exported(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no model\.keras"):
        export_run(tmp_path, "onnx")
    inference_model("none").save(tmp_path / "model.keras")
    with pytest.raises(InputError, match="pass --size"):
        export_run(tmp_path, "onnx")
    with pytest.raises(InputError, match=r"end in \.onnx. Received: .*m\.pb"):
        export_run(tmp_path, "onnx", out=tmp_path / "m.pb", size=36)
    with pytest.raises(InputError, match=r"on tensorflow cannot export.*to torch"):
        export_run(tmp_path, "torch", size=36)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"pip install 'hornbook\[export\]'"):
        export_run(tmp_path, "onnx", size=36)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model.keras"]


def test_another_size(tmp_path):
    inference_model("none").save(tmp_path / "model.keras")
    done = export_run(tmp_path, "savedmodel", size=50)
    assert done.shape == "50×50×3"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(
        tmp_path / "model.keras"
    )
    with pytest.raises(InputError, match="Only models for images"):
        export_run(tmp_path, "onnx")
