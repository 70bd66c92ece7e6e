import pytest

from hornbook.errors import InputError
from hornbook.zoo.finetune.settings import STRATEGIES, Settings
from hornbook.zoo.finetune.strategies import plan


def phases(groups=4, **settings):
    return plan(Settings(**settings), groups)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("epochs", [2, 3, 10, 37])
@pytest.mark.parametrize("groups", [1, 2, 30])
def test_epochs_add_up_and_each_group_has_a_rate(strategy, epochs, groups):
    found = phases(groups, strategy=strategy, epochs=epochs)
    assert sum(phase.epochs for phase in found) == epochs
    assert all(phase.epochs >= 1 for phase in found)
    assert all(len(phase.backbone) == groups for phase in found)
    assert found[-1].frozen == (strategy == "probe")


def test_layer_decay_is_a_power_of_the_distance_from_the_head():
    [phase] = phases(groups=5, strategy="layer_decay", decay=0.5)
    assert phase.backbone == (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
    assert phase.head == 1


def test_thaw_is_the_head_and_then_all():
    head, everything = phases(groups=2, epochs=10, head_share=0.4, backbone_rate=0.2)
    assert (head.epochs, head.backbone, head.head) == (4, (0, 0), 1)
    assert (everything.epochs, everything.backbone) == (6, (0.2, 0.2))
    assert [phase.epochs for phase in phases(epochs=5, head_share=1.0)] == [4, 1]
    assert [phase.epochs for phase in phases(epochs=5, head_share=0.0)] == [1, 4]


def test_gradual_thaws_from_the_head_down():
    found = phases(groups=30, strategy="gradual", epochs=4, backbone_rate=0.5)
    thawed = [sum(rate > 0 for rate in phase.backbone) for phase in found]
    assert thawed == [0, 10, 20, 30]
    for phase in found[1:]:
        assert list(phase.backbone) == sorted(phase.backbone)
        assert set(phase.backbone) <= {0, 0.5}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "fast"}, "strategy must be one of 'probe'.*strategy='fast'"),
        ({"task": "ranking"}, "task must be"),
        ({"batchnorm": "live"}, "batchnorm must be"),
        ({"strategy": "probe", "batchnorm": "update"}, "'frozen' for a probe"),
        ({"epochs": 0}, "epochs must be an integer of at least 1"),
        ({"epochs": 1}, "epochs must be at least 2 for 'thaw'"),
        ({"epochs": 2.5}, "Received: epochs=2.5"),
        ({"batch_size": 0}, "batch_size"),
        ({"accumulate": 0}, "accumulate"),
        ({"devices": 0}, "devices"),
        ({"views": 0}, "views"),
        ({"patience": 0}, "patience"),
        ({"seed": -1}, "seed"),
        ({"rate": 0.0}, "rate must be above 0"),
        ({"rate": float("inf")}, "rate must be above 0"),
        ({"rate": "auto"}, "rate must be above 0"),
        ({"backbone_rate": 1.5}, "backbone_rate must be a number from 0 to 1"),
        ({"decay": -0.1}, "decay"),
        ({"dropout": 1}, "dropout"),
        ({"label_smoothing": 2}, "label_smoothing"),
        ({"task": "regression", "label_smoothing": 0.1}, "0 for regression"),
        ({"task": "multi_label", "mixup": 0.2}, "it is for classification"),
        ({"task": "regression", "class_weight": "balanced"}, "it is for classif"),
        ({"class_weight": "equal"}, "class_weight"),
        ({"mixup": -1}, "mixup"),
        ({"ema": 1.0}, "ema"),
        ({"mixed_precision": "float8"}, "mixed_precision"),
        ({"xla": "yes"}, "xla"),
        ({"checkpoint_every": 5}, "None without a checkpoint folder"),
        ({"lable_smoothing": 0.1}, "perhaps label_smoothing: lable_smoothing"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(settings, message):
    with pytest.raises(InputError, match=message):
        Settings.of(settings)
