"""The ways to train that are compared, each with the rate that suits it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """A stretch of training at fixed multiples of the arm's rate.

    Attributes:
        name: "head" or "all".
        share: Part of the epochs, 0 to 1.
        backbone: Multiplier of the rate for the backbone; 0 freezes it.
        head: Multiplier for the head.
    """

    name: str
    share: float
    backbone: float
    head: float


@dataclass(frozen=True)
class Arm:
    """One way to train a classifier.

    Attributes:
        title: What it does, in words.
        rate: Adam's learning rate. Chosen on training digits that the few labels left
            over, never on the test set: `studies/finetune_rates.py`.
        phases: In order; the shares add up to 1.
        pretrained: Whether the backbone starts from the shipped weights.
    """

    title: str
    rate: float
    phases: tuple[Phase, ...]
    pretrained: bool = True


def head_then_all(backbone_rate=0.1, rate=3e-2, head_share=0.4):
    """The head on a frozen backbone first, then everything at a reduced rate."""
    if backbone_rate == 0:
        return Arm("frozen backbone, head only", rate, (Phase("head", 1, 0, 1),))
    return Arm(
        f"head first, then all at {backbone_rate:g} of the rate",
        rate,
        (
            Phase("head", head_share, 0, 1),
            Phase("all", 1 - head_share, backbone_rate, backbone_rate),
        ),
    )


ARMS = {
    "scratch": Arm("from scratch", 3e-2, (Phase("all", 1, 1, 1),), pretrained=False),
    "probe": head_then_all(backbone_rate=0, rate=1e-2),
    "full": Arm("everything at the same rate", 3e-3, (Phase("all", 1, 1, 1),)),
    "slow": Arm("backbone at 0.1 of the rate", 3e-2, (Phase("all", 1, 0.1, 1),)),
    "thaw": head_then_all(),
}
