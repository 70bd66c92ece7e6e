"""Each setting has an effect: on the trained weights, or on what is written."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
from tiny import build, patterns

from hornbook.errors import InputError
from hornbook.zoo import fine_tune
from hornbook.zoo.finetune.fine_tune import Settings

BASE = {"epochs": 3, "steps_per_epoch": 3, "batch_size": 16, "learning_rate": 0.01}

# A value for each setting, and beside it what it needs to have an effect.
OTHERS = {
    "class_weight": ({0: 5.0}, {}),
    "strategy": ("full", {}),
    "freeze_epochs": (2, {}),
    "backbone_lr_multiplier": (0.5, {}),
    "layer_decay": (0.5, {"strategy": "layer_decay"}),
    "batchnorm": ("update", {}),
    "optimizer": ("sgd", {}),
    "learning_rate": (0.02, {}),
    "warmup_ratio": (0.5, {}),
    "weight_decay": (0.1, {}),
    "global_clipnorm": (0.01, {"optimizer": "sgd"}),
    "gradient_accumulation_steps": (3, {}),
    "ema_momentum": (0.9, {}),
    "dropout": (0.0, {}),
    "label_smoothing": (0.2, {}),
    "mixup": (0.4, {}),
    "cutmix": (1.0, {}),
    "augment": (keras.layers.RandomInvert(1.0, (0, 255)), {}),
    "random_crop": (False, {"pictures": True}),
    "epochs": (4, {}),
    "steps_per_epoch": (4, {}),
    "batch_size": (8, {}),
    "seed": (1, {}),
    "mixed_precision": ("bfloat16", {}),
    "cached_views": (1, {"pictures": True}),
}


@functools.cache
def trained(name=None, pictures=False, **beside):
    """The weights after a training with the other value of a setting."""
    options = {**BASE, **dict(beside)}
    if name is not None:
        options[name] = OTHERS[name][0]
    x, y = patterns()
    backbone = build()
    if pictures:
        x = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
        card = {"fine_tuning": {"image_size": 4}}
        backbone = dataclasses.replace(backbone, card=card)
    return fine_tune(backbone, (x, y), **options).classifier.get_weights()


@pytest.mark.parametrize("name", OTHERS)
def test_it_changes_the_weights(name):
    beside = OTHERS[name][1]
    plain, changed = trained(**beside), trained(name, **beside)
    assert not all(np.array_equal(a, b) for a, b in zip(plain, changed, strict=True))


def test_every_setting_is_tested_here_or_below():
    elsewhere = {
        "task": "test_fine_tune.TestTasks",
        "image_size": "test_image_size",
        "patience": "test_patience",
        "jit_compile": "test_jit_compile",
        "minutes": "test_callbacks",
        "devices": "test_fine_tune.test_two_devices_train_as_one_does",
        "backup_dir": "test_state_is_saved",
        "save_freq": "test_state_is_saved",
        "log_dir": "test_logs_are_written",
    }
    names = {field.name for field in dataclasses.fields(Settings)}
    assert names == OTHERS.keys() | elsewhere.keys()


def test_patience():
    x, y = patterns()
    noise = np.random.default_rng(0).integers(0, 256, x.shape).astype("uint8")
    options = {**BASE, "epochs": 12, "strategy": "linear_probe", "learning_rate": 0.3}
    lengths = [
        len(fine_tune(build(), (x, y), (noise, y), patience=each, **options).history)
        for each in (1, 11)
    ]
    assert lengths[0] < lengths[1]


def test_image_size():
    x = np.random.default_rng(0).integers(0, 256, (8, 40, 40, 3), dtype="uint8")
    data, options = (x, np.arange(8) % 2), {**BASE, "epochs": 2, "steps_per_epoch": 1}
    tuned = fine_tune("glyphnet_small", data, image_size=16, **options)
    assert tuned.classifier.input_shape == (None, 16, 16, 3)
    assert tuned.predict(x).shape == (8, 2)
    with pytest.raises(InputError, match="for a backbone that an id names"):
        fine_tune(build(), patterns(), image_size=16)


def test_jit_compile():
    compiled = []
    compile_model = keras.Model.compile

    def look(model, *arguments, **options):
        compiled.append(options.get("jit_compile"))
        return compile_model(model, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "compile", look)
        fine_tune(build(), patterns(), jit_compile=False, **BASE)
    assert compiled[:2] == [False, False]


@pytest.mark.parametrize("save_freq", [None, 2])
def test_state_is_saved(tmp_path, save_freq):
    options = BASE | {"steps_per_epoch": 4, "epochs": 2}
    tuned = fine_tune(
        build(), patterns(), backup_dir=tmp_path, save_freq=save_freq, **options
    )
    assert {each.name for each in tmp_path.iterdir()} == {"0-head", "1-all"}
    assert len(tuned.history) == (2 if save_freq is None else 4)
    with pytest.raises(InputError, match="left out without a backup_dir"):
        fine_tune(build(), patterns(), save_freq=2, **options)


def test_logs_are_written(tmp_path):
    fine_tune(build(), patterns(), log_dir=tmp_path, **BASE)
    assert len(list(tmp_path.rglob("events.*"))) == 1


def test_an_optimizer_a_loss_and_metrics_of_keras_s():
    optimizer = keras.optimizers.Nadam(0.01)
    tuned = fine_tune(
        build(),
        patterns(),
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(ignore_class=2),
        metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")],
        epochs=3,
        steps_per_epoch=3,
    )
    assert {"loss", "top2"} <= tuned.history[0].keys()
    assert "accuracy" not in tuned.history[0]
    assert tuned.history[0]["learning_rate"] == pytest.approx(0.01)
    assert optimizer.iterations == 0  # it is a template


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lr": 1}, "it is called learning_rate"),
        ({"validation": 1}, "it is called validation_data"),
        ({"num_classes": 2, "class_names": ("a",)}, "the number of class_names, 1"),
        ({"class_weight": {"7": 2}}, "class_weight must name classes: 0, 1, 2"),
    ],
)
def test_what_is_wrong_is_said_before_training(wrong, message):
    with pytest.raises(InputError, match=message):
        fine_tune(build(), patterns(), **wrong)


def test_pictures_of_another_size_than_a_model_of_yours_are_refused():
    x, y = patterns()
    with pytest.raises(InputError, match=r"takes inputs of shape \(4, 4, 1\)"):
        fine_tune(build().model, (np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), y))


@pytest.mark.parametrize("how", ["model", "backbone"])
def test_a_backbone_that_arrives_frozen_is_trained(how):
    backbone = build()
    backbone.model.trainable = False
    before = [value.copy() for value in backbone.model.get_weights()]
    given = backbone.model if how == "model" else backbone
    fine_tune(given, patterns(), **BASE)
    after = backbone.model.get_weights()
    moved = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert sum(moved) >= 6  # the kernels and biases of three blocks
