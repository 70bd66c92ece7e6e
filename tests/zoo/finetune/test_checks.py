import pytest

from hornbook.errors import InputError
from hornbook.zoo.finetune.checks import number_or_text, parse_weights
from hornbook.zoo.finetune.fine_tune import Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "fast"}, "strategy must be one of head_then_all.*strategy=fast"),
        ({"task": "ranking"}, "task must be"),
        ({"batchnorm": "live"}, "batchnorm must be"),
        ({"optimizer": "sdg"}, "optimizer must be one of adam"),
        ({"augment": "heavy"}, "augment must be one of digits"),
        ({"epochs": 0}, "epochs must be an integer of at least 1"),
        ({"epochs": 2.5}, "Received: epochs=2.5"),
        ({"epochs": True}, "Received: epochs=True"),
        ({"batch_size": 0}, "batch_size"),
        ({"steps_per_epoch": 0}, "steps_per_epoch"),
        ({"minutes": 0}, "minutes must be a number above 0"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps"),
        ({"devices": 0}, "devices"),
        ({"cached_views": 0}, "cached_views"),
        ({"patience": 0}, "patience"),
        ({"seed": -1}, "seed"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"learning_rate": float("inf")}, "learning_rate must be above 0"),
        ({"learning_rate": "fast"}, "Received: learning_rate=fast"),
        ({"backbone_lr_multiplier": 1.5}, "must be a number from 0 to 1"),
        ({"layer_decay": -0.1}, "layer_decay"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"global_clipnorm": 0}, "global_clipnorm"),
        ({"warmup_ratio": 1.1}, "warmup_ratio"),
        ({"dropout": 1}, "dropout must be a number from 0 to below 1"),
        ({"label_smoothing": 2}, "label_smoothing"),
        ({"class_weight": "equal"}, "class_weight"),
        ({"mixup": -1}, "mixup"),
        ({"ema_momentum": 1.0}, "ema_momentum"),
        ({"mixed_precision": "float8"}, "mixed_precision"),
        ({"jit_compile": "yes"}, "jit_compile"),
        ({"random_crop": 1}, "random_crop must be True or False"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(settings, message):
    with pytest.raises(InputError, match=message):
        Settings.of(settings)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"strategy": "linear_probe", "batchnorm": "update"}, "batchnorm"),
        ({"backbone_lr_multiplier": 0.0, "batchnorm": "update"}, "batchnorm"),
        ({"epochs": 1}, "epochs must be at least 2 for head_then_all"),
        ({"strategy": "gradual_unfreezing", "epochs": 1}, "epochs must be at least 2"),
        ({"strategy": "full", "freeze_epochs": 1}, "freeze_epochs"),
        ({"epochs": 3, "freeze_epochs": 3}, "freeze_epochs must be below epochs=3"),
        ({"task": "regression", "label_smoothing": 0.1}, "label_smoothing"),
        ({"task": "multi_label", "mixup": 0.2}, "mixup"),
        ({"task": "multi_label", "cutmix": 0.2}, "cutmix"),
        ({"task": "regression", "class_weight": "balanced"}, "class_weight"),
        ({"learning_rate": abs, "warmup_ratio": 0.1}, "warmup_ratio"),
        ({"minutes": 1, "gradient_accumulation_steps": 2}, "gradient_accumulation"),
        ({"minutes": 1, "backup_dir": "b"}, "backup_dir"),
        ({"minutes": 1, "learning_rate": abs}, "minutes"),
    ],
)
def test_what_another_setting_leaves_without_effect_is_refused(settings, name):
    with pytest.raises(InputError, match=f"{name}.*Received: "):
        Settings.of(settings)


def test_an_optimizer_of_your_own_has_its_own_numbers():
    class Own:
        apply = None

    Settings(optimizer=Own())
    for name, value in {
        "learning_rate": 0.1,
        "weight_decay": 0.1,
        "global_clipnorm": 1.0,
        "ema_momentum": 0.9,
        "gradient_accumulation_steps": 2,
        "warmup_ratio": 0.1,
    }.items():
        with pytest.raises(InputError, match=f"{name} must be left out beside"):
            Settings(optimizer=Own(), **{name: value})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("lr", "learning_rate"),
        ("rate", "learning_rate"),
        ("decay", "weight_decay or layer_decay"),
        ("validation", "validation_data"),
        ("classes", "class_names or num_classes"),
        ("lable_smoothing", "label_smoothing"),
        ("epoch", "epochs"),
    ],
)
def test_a_near_miss_is_told_the_right_word(wrong, right):
    with pytest.raises(InputError, match=rf"{right}\b.*Received: {wrong}$"):
        Settings.of({wrong: 1})


def test_flags_are_read():
    assert number_or_text("0.5") == 0.5
    assert number_or_text("auto") == "auto"
    assert parse_weights("a=b=2, c=0.5") == {"a=b": 2.0, "c": 0.5}
    with pytest.raises(InputError, match="Received: class_weight=a=much"):
        parse_weights("a=much")
