"""The ready spaces build, learn, and go home in plain Keras."""

import zipfile

import keras
import keras_tuner
import numpy as np
import pytest

from hornbook.tuning.runs.plain_layers import with_plain_layers
from hornbook.tuning.runs.space_file import SpaceFile
from hornbook.tuning.search.explore import explore

PICTURES = (36, 36, 3)
SPACES = {
    "finetune": (PICTURES, 10),
    "head": ((128,), 10),
    "cnn": (PICTURES, 4),
    "table": ((7,), 3),
}
EXPECTED = {
    "finetune": {
        "learning_rate",
        "backbone_lr_multiplier",
        "weight_decay",
        "dropout",
        "label_smoothing",
        "augment",
    },
    "head": {
        "head",
        "dropout",
        "optimizer",
        "adamw_learning_rate",
        "sgd_learning_rate",
        "pieces",
    },
    "cnn": {"batch_size", "optimizer", "depth", "width", "augment_strength"},
    "table": {"batch_size", "optimizer", "unit", "depth", "dropout"},
}


def examples(shape, num_classes, count=24):
    rng = np.random.default_rng(0)
    y = np.arange(count) % num_classes
    if len(shape) == 3:
        return rng.integers(0, 256, (count, *shape)).astype("uint8"), y
    return rng.normal(size=(count, *shape)).astype("float32") + y[:, None], y


def build(name, **values):
    shape, num_classes = SPACES[name]
    function = SpaceFile(name).bound(shape, num_classes)
    hp = explore(function, "val_loss")
    hp.values |= values
    return function(hp)


@pytest.mark.parametrize("name", SPACES)
def test_space_has_what_it_says(name):
    shape, num_classes = SPACES[name]
    found = explore(SpaceFile(name).bound(shape, num_classes), "val_loss")
    assert EXPECTED[name] <= {each.name for each in found.space}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("head", {"head": "maxout"}),
        ("cnn", {"batch_norm": False}),
        ("table", {"unit": "maxout", "optimizer": "sgd"}),
    ],
)
def test_models_train_and_go_home_in_plain_keras(name, values, tmp_path):
    shape, num_classes = SPACES[name]
    x, y = examples(shape, num_classes)
    values = {"sgd_learning_rate": 0.01, "pieces": 4, **values}
    model = build(name, **values)
    model.fit(x, y, batch_size=8, verbose=0)
    home = with_plain_layers(model)
    outputs = model.predict(x, verbose=0)
    assert outputs.shape == (len(x), num_classes)
    np.testing.assert_allclose(home.predict(x, verbose=0), outputs, atol=1e-5)
    path = tmp_path / "home.keras"
    home.save(path)
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json").decode()
    assert "hornbook" not in config
    loaded = keras.models.load_model(path)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), outputs, atol=1e-5)


def test_every_setting_of_the_fine_tuning_is_one_of_fine_tune_s():
    from hornbook.tuning.spaces.finetune import BACKBONE
    from hornbook.zoo.runs.config import RunConfig

    model = build("finetune", backbone_lr_multiplier=0.25, augment="digits")
    assert model.fine_tuning["backbone_lr_multiplier"] == 0.25
    assert model.fine_tuning["augment"] == "digits"
    assert model.fine_tuning["backbone"] == BACKBONE
    RunConfig.of(dict(model.fine_tuning))
    assert build("finetune", augment="none").fine_tuning["augment"] is None


def test_head_goes_home_on_its_backbone():
    space = SpaceFile("head")
    pictures, _ = examples(PICTURES, 10, count=6)
    features = space.prepare(pictures)
    assert features.shape == (6, 128)
    model = build("head")
    home = space.inference_model(model, PICTURES)
    np.testing.assert_allclose(
        home.predict(pictures, verbose=0),
        model.predict(features, verbose=0),
        atol=1e-5,
    )


def test_table_standardises_by_what_it_saw():
    x, y = examples((7,), 3, count=240)
    far = 1000 + 50 * x
    model = build("table", depth=1, dropout=0.05, unit="relu")
    model.fit(far, y, batch_size=16, epochs=16, verbose=0)
    layer = model.get_layer("standardise")
    np.testing.assert_allclose(layer.moving_mean, far.mean(axis=0), rtol=0.02)
    assert model.evaluate(far, y, verbose=0)[1] > 0.8


def test_table_brings_data():
    given = SpaceFile("table").read_data()
    assert {name: len(y) for name, (_, y) in given.items()} == {
        "train": 398,
        "test": 171,
    }


@pytest.mark.parametrize("name", ["finetune", "cnn", "table"])
def test_numbers_alone_compile_nothing_again(name):
    from hornbook.tuning.warm.model_signature import model_signature

    signatures = []
    for shift in (0.0, 0.01):
        keras.utils.clear_session()
        values = {"dropout": 0.2 + shift, "weight_decay": 0.001 + shift}
        values |= {"augment_strength": 0.3 + shift, "learning_rate": 0.01 + shift}
        signatures.append(model_signature(build(name, **values)))
    assert signatures[0].opaque is None
    assert signatures[0].key == signatures[1].key


class Steps(keras.callbacks.Callback):
    """Copies share what they have seen."""

    seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.params["steps"])


def test_batch_size_is_that_of_fit(tmp_path):
    from hornbook.tuning import RandomSearch

    shape, num_classes = SPACES["table"]
    x, y = examples(shape, num_classes)
    fixed = keras_tuner.HyperParameters()
    fixed.Fixed("batch_size", 8)
    tuner = RandomSearch(
        SpaceFile("table").bound(shape, num_classes),
        "loss",
        max_trials=1,
        hyperparameters=fixed,
        directory=tmp_path,
    )
    Steps.seen.clear()
    tuner.search(x, y, epochs=2, callbacks=[Steps()], verbose=0)
    assert Steps.seen == [3, 3]
