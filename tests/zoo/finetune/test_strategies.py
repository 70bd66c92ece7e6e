import pytest

from hornbook.zoo.finetune.checks import STRATEGIES
from hornbook.zoo.finetune.fine_tune import Settings
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
    assert found[-1].frozen == (strategy == "linear_probe")


def test_layer_decay_is_a_power_of_the_distance_from_the_head():
    [phase] = phases(groups=5, strategy="layer_decay", layer_decay=0.5)
    assert phase.backbone == (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
    assert phase.head == 1


def test_head_then_all_is_the_head_and_then_all():
    head, everything = phases(groups=2, epochs=10, backbone_lr_multiplier=0.2)
    assert (head.epochs, head.backbone, head.head) == (4, (0, 0), 1)
    assert (everything.epochs, everything.backbone) == (6, (0.2, 0.2))
    assert [phase.epochs for phase in phases(epochs=5, freeze_epochs=4)] == [4, 1]
    assert [phase.epochs for phase in phases(epochs=2)] == [1, 1]


def test_a_multiplier_of_0_leaves_the_backbone_frozen():
    [head] = phases(epochs=10, backbone_lr_multiplier=0.0)
    assert head.frozen and head.epochs == 10


def test_gradual_unfreezes_from_the_head_down():
    found = phases(
        groups=30, strategy="gradual_unfreezing", epochs=4, backbone_lr_multiplier=0.5
    )
    unfrozen = [sum(rate > 0 for rate in phase.backbone) for phase in found]
    assert unfrozen == [0, 10, 20, 30]
    for phase in found[1:]:
        assert list(phase.backbone) == sorted(phase.backbone)
        assert set(phase.backbone) <= {0, 0.5}
