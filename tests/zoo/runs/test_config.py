import pytest

from hornbook.errors import InputError
from hornbook.zoo.finetune.checks import PRESETS
from hornbook.zoo.runs.config import RunConfig


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("labels_per_class", 0),
        ("seed", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", "fast"),
        ("backbone_lr_multiplier", 1.5),
        ("augment", "heavy"),
        ("test_crops", "seven"),
        ("merge", "median"),
        ("skip_unreadable", "yes"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name, value):
    with pytest.raises(InputError, match=rf"^{name} must be.*Received: {name}="):
        RunConfig.of({name: value})


def test_unknown_names_are_told_the_right_word():
    with pytest.raises(InputError, match="it is called test_crops or cached_views"):
        RunConfig.of({"views": "five"})


def test_parts_are_composed():
    config = RunConfig.of({"labels_per_class": 7, "test_crops": "ten", "epochs": 3}, 2)
    assert config.data.labels_per_class == 7
    assert config.training.epochs == 3
    assert config.test.test_crops == "ten"
    assert config.as_dict()["processes"] == 2
    assert RunConfig.from_dict(config.as_dict()) == config
    assert config.with_training(epochs=5).as_dict() == {**config.as_dict(), "epochs": 5}


def test_without_crops_in_training_none_vote():
    assert RunConfig.of({"random_crop": False}).test.test_crops == "none"
    config = RunConfig.of({"random_crop": False, "test_crops": "none"})
    assert RunConfig.from_dict(config.as_dict()) == config
    with pytest.raises(InputError, match="test_crops must be none without random_crop"):
        RunConfig.of({"random_crop": False, "test_crops": "ten"})


def test_the_presets_are_those_of_the_recipe():
    from hornbook.recipes.augmentation.image_augmentation import PRESETS as KNOWN

    assert set(PRESETS) == set(KNOWN)
