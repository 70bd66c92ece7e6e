"""keras.applications: the pixels as its own functions have them, the cut, the cache."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from hornbook.errors import InputError
from hornbook.zoo.backbones import open_backbone
from hornbook.zoo.backbones.keras_applications import (
    ARCHITECTURES,
    FAMILIES,
    preprocess,
    snake,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 80, 80, 3), dtype="uint8")
# The smallest of each family, at a side that it takes.
SMALLEST = {
    "convnext": ("convnext_tiny", 32),
    "densenet": ("densenet121", 32),
    "efficientnet": ("efficientnet_b0", 32),
    "efficientnet_v2": ("efficientnet_v2_b0", 32),
    "inception_resnet_v2": ("inception_resnet_v2", 75),
    "inception_v3": ("inception_v3", 75),
    "mobilenet": ("mobilenet", 32),
    "mobilenet_v2": ("mobilenet_v2", 32),
    "mobilenet_v3": ("mobilenet_v3_small", 32),
    "nasnet": ("nasnet_mobile", 32),
    "resnet": ("resnet50", 32),
    "resnet_v2": ("resnet50_v2", 32),
    "vgg16": ("vgg16", 32),
    "vgg19": ("vgg19", 32),
    "xception": ("xception", 71),
}
QUICK = ("mobilenet", "mobilenet_v3", "vgg16")
# Blocks of the papers' tables, and the stem where no block begins before it.
BLOCKS = {
    "convnext": 1 + 18 + 3,
    "densenet": 1 + 58 + 3,
    "efficientnet": 1 + 16 + 1,
    "efficientnet_v2": 1 + 21 + 1,
    "inception_resnet_v2": 1 + 10 + 1 + 20 + 1 + 10,
    "inception_v3": 11,
    "mobilenet": 1 + 13,
    "mobilenet_v2": 1 + 17 + 1,
    "mobilenet_v3": 1 + 11 + 1,
    "nasnet": 1 + 2 + 12 + 2,
    "resnet": 1 + 16,
    "resnet_v2": 1 + 16,
    "vgg16": 5,
    "vgg19": 5,
    "xception": 14,
}


def test_no_architecture_of_keras_is_left_out():
    functions = {name for name in dir(keras.applications) if name[0].isupper()}
    assert functions == {name for _, name in ARCHITECTURES.values()}
    modules = {
        name
        for name in dir(keras.applications)
        if hasattr(getattr(keras.applications, name), "preprocess_input")
    }
    assert modules - {"imagenet_utils", "resnet50"} == set(FAMILIES)
    assert set(SMALLEST) == set(BLOCKS) == set(FAMILIES)
    for module, family in FAMILIES.items():
        for name in family.sizes:
            function = getattr(keras.applications, name)
            here = getattr(keras.applications, module)
            assert getattr(here, name, function) is function
            assert ARCHITECTURES[snake(name)] == (module, name)


@pytest.mark.parametrize("family", FAMILIES)
def test_preprocessing_is_the_familys_own(family, tmp_path):
    theirs = getattr(keras.applications, family).preprocess_input
    want = theirs(PIXELS.astype("float32"))
    pixels = keras.Input((80, 80, 3))
    mode = FAMILIES[family].preprocessing
    model = keras.Model(pixels, keras.layers.Identity()(preprocess(pixels, mode)))
    np.testing.assert_allclose(model.predict(PIXELS, verbose=0), want, atol=2e-6)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(PIXELS, verbose=0), want, atol=2e-6)


def check(family, tmp_path):
    name, side = SMALLEST[family]
    id = f"keras/{name}"
    backbone = open_backbone(id, input_shape=(side, side, 3), weights=None)
    model, card = backbone.model, backbone.card
    features = model.predict(PIXELS[:, :side, :side], verbose=0)
    assert features.shape == (3, card["features"])
    assert np.isfinite(features).all()
    paths = [path for group in backbone.groups for path in group]
    assert sorted(paths) == sorted(v.path for v in model.trainable_variables)
    assert len(set(paths)) == len(paths)
    assert len(backbone.groups) == BLOCKS[family]
    assert card["has_batchnorm"] == (family not in ("convnext", "vgg16", "vgg19"))

    # The preprocessing is inside, and nothing else is: the same as by hand.
    body = next(x for x in model.layers if isinstance(x, keras.Model))
    theirs = getattr(keras.applications, family).preprocess_input
    by_hand = theirs(PIXELS[:, :side, :side].astype("float32"))
    np.testing.assert_allclose(
        features, body.predict(by_hand, verbose=0), rtol=1e-3, atol=1e-4
    )

    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(
        again.predict(PIXELS[:, :side, :side], verbose=0), features
    )


@pytest.mark.parametrize("family", QUICK)
def test_a_family(family, tmp_path):
    check(family, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("family", [each for each in FAMILIES if each not in QUICK])
def test_every_other_family(family, tmp_path):
    check(family, tmp_path)


def test_groups_go_from_the_input_to_the_output():
    backbone = open_backbone(
        "keras/mobilenet_v2", input_shape=(32, 32, 3), weights=None
    )
    assert backbone.groups[0] == ["Conv1/kernel", "bn_Conv1/gamma", "bn_Conv1/beta"]
    assert all("block_7_" in path for path in backbone.groups[8])
    assert backbone.groups[-1][0] == "Conv_1/kernel"


CACHED = """
import json, os, socket, sys
import numpy as np

def no_network(*args, **kwargs):
    raise OSError("there is no network")

socket.getaddrinfo = socket.create_connection = no_network
import keras
from hornbook.zoo.backbones import open_backbone
from hornbook.errors import InputError

models = os.path.join(os.environ["KERAS_HOME"], "models")
os.makedirs(models)
base = dict(include_top=False, weights=None, pooling="avg")
mobile = keras.applications.MobileNetV2(input_shape=(96, 96, 3), **base)
mobile.save(
    f"{models}/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"
)
opened = open_backbone("keras/mobilenet_v2", input_shape=(96, 96, 3)).model
pairs = zip(mobile.get_weights(), opened.get_weights(), strict=True)
said = {"same": all(np.array_equal(a, b) for a, b in pairs)}
# Most families have a hash, which a file of our own can't have.
small = keras.applications.VGG16(input_shape=(32, 32, 3), **base)
small.save(f"{models}/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5")
for key, id in (("forged", "vgg16"), ("absent", "resnet50")):
    try:
        open_backbone(f"keras/{id}")
    except InputError as error:
        said[key] = str(error)
print(json.dumps(said))
"""


def test_weights_from_kerass_cache_and_no_network(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CACHED],
        env={**os.environ, "KERAS_HOME": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["same"]
    for key in ("forged", "absent"):
        assert "there is no network" in said[key]
        assert "Received: input_shape" in said[key]


def test_what_is_not_there():
    with pytest.raises(InputError, match=r"vgg19, xception.*Received: keras/resnet51"):
        open_backbone("keras/resnet51")
    with pytest.raises(InputError, match=r"three channels.*\(32, 32, 1\)"):
        open_backbone("keras/vgg16", input_shape=(32, 32, 1))
    with pytest.raises(InputError, match=r"cannot be built.*\(8, 8, 3\)"):
        open_backbone("keras/inception_v3", input_shape=(8, 8, 3), weights=None)
