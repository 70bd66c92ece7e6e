"""The same run from anywhere: command line, Python, a settings file."""

import dataclasses
import inspect
import json

import numpy as np
import pytest

from hornbook.zoo import fine_tune
from hornbook.zoo.data.arrays.decode import shrink
from hornbook.zoo.finetune.fine_tune import Settings
from hornbook.zoo.runs import run
from hornbook.zoo.runs.config import RunConfig, fields_of_a_run
from hornbook.zoo.runs.load import load_run
from hornbook.zoo.runs.settings_file import preset_names, read_settings


def test_every_field_is_a_keyword_with_the_same_default():
    keywords = inspect.signature(fine_tune).parameters
    for field in dataclasses.fields(Settings):
        assert keywords[field.name].default == field.default, field.name
        assert keywords[field.name].kind is inspect.Parameter.KEYWORD_ONLY
    own = ["backbone", "train", "validation_data", "class_names", "num_classes"]
    own += ["loss", "metrics", "callbacks", "cache", "verbose", "progress", "unknown"]
    assert {*keywords} == {field.name for field in dataclasses.fields(Settings)} | {
        *own
    }


def test_every_keyword_is_documented():
    told = inspect.getdoc(fine_tune)
    for name in inspect.signature(fine_tune).parameters:
        assert f"    {name}: " in told or f"    **{name}: " in told, name


def test_a_config_is_its_own_dict():
    options = {"data": "npz:a.npz", "learning_rate": 0.1, "class_weight": {"a": 2.0}}
    config = RunConfig.of(options | {"test_crops": "ten", "augment": "light"})
    again = RunConfig.from_dict(json.loads(json.dumps(config.as_dict())))
    assert again == config


@pytest.mark.parametrize("name", preset_names())
def test_settings_that_ship_are_settings(name):
    config = RunConfig.of(read_settings(name))
    assert config != RunConfig()


def test_names_of_flags_are_no_two_things():
    names = [field.name for field in fields_of_a_run()]
    assert len(names) == len(set(names))


@pytest.fixture(scope="module")
def npz(three_digits, tmp_path_factory):
    """The small task as a file."""
    dataset = three_digits()
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(
        path,
        x_train=dataset.train.images,
        y_train=dataset.train.labels,
        x_test=dataset.test.images,
        y_test=dataset.test.labels,
        classes=np.array(dataset.classes),
    )
    return path


def equal(a, b):
    return all(
        np.array_equal(x, y)
        for x, y in zip(a.get_weights(), b.get_weights(), strict=True)
    )


def test_a_run_and_fine_tune_end_with_the_same_bits(npz, three_digits, tmp_path):
    options = {"epochs": 3, "steps_per_epoch": 4, "seed": 3, "label_smoothing": 0.1}
    config = RunConfig.of({"data": f"npz:{npz}", **options, "test_crops": "none"})
    config, dataset = run.create(config, tmp_path / "run", "")
    run.execute(tmp_path / "run", config, dataset)
    ran, lines = load_run(tmp_path / "run")
    train = dataset.train
    tuned = fine_tune(
        "glyphnet.letters_rgb",
        (train.images, train.labels),
        class_names=dataset.classes,
        **options,
    )
    assert equal(ran, tuned.model)
    # And from the config.json of the run, as `--settings` reads it.
    read = read_settings(tmp_path / "run/config.json")
    assert RunConfig.of(read).training == dataclasses.replace(config.training)
    assert lines["batchnorm"] == "update" and lines["learning_rate"] == 0.03
    # A picture twice as large is shrunk to the same.
    x = dataset.test.images[:4]
    twice = np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)
    np.testing.assert_allclose(tuned.predict(twice), tuned.predict(x), atol=0.02)


def test_pictures_of_any_size_are_trained_on(three_digits):
    dataset = three_digits()
    images, labels = dataset.train.images, dataset.train.labels
    options = {"epochs": 2, "steps_per_epoch": 4}
    plain = fine_tune("glyphnet.letters_rgb", (images, labels), **options)
    twice = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)
    large = fine_tune("glyphnet.letters_rgb", (twice, labels), **options)
    # As the command line reads them: shrunk, then cropped.
    shrunk = np.stack([shrink(picture, 36) for picture in twice])
    small = fine_tune("glyphnet.letters_rgb", (shrunk, labels), **options)
    assert equal(small.classifier, large.classifier)
    assert not equal(plain.classifier, large.classifier)
