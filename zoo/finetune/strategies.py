"""What is trained when: each strategy as phases of rates' multiples."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hornbook.zoo.finetune.fine_tune import Settings

HEAD_SHARE = 0.4  # of the epochs of head_then_all, where nobody says


@dataclass(frozen=True)
class Phase:
    """Some epochs at fixed multiples of the rate.

    Attributes:
        name: Such as "head", "all" or "3 blocks".
        epochs: How many.
        backbone: The multiple for each of the backbone's groups, from the input to
            the output; 0 freezes.
        head: The multiple for the head.
    """

    name: str
    epochs: int
    backbone: tuple[float, ...]
    head: float

    @property
    def frozen(self) -> bool:
        """Whether the head is trained alone."""
        return not any(self.backbone)


def plan(settings: "Settings", groups: int) -> list[Phase]:
    """The phases of a strategy.

    Args:
        settings: `Settings`.
        groups: How many groups of layers the backbone has.

    Returns:
        List of `Phase`; their epochs add up to the settings'.

    Example:

    >>> from hornbook.zoo.finetune.fine_tune import Settings
    >>> for phase in plan(Settings(strategy="gradual_unfreezing", epochs=5), groups=3):
    ...     print(phase)
    Phase(name='head', epochs=2, backbone=(0, 0, 0), head=1)
    Phase(name='1 block', epochs=1, backbone=(0, 0, 0.1), head=0.1)
    Phase(name='2 blocks', epochs=1, backbone=(0, 0.1, 0.1), head=0.1)
    Phase(name='all', epochs=1, backbone=(0.1, 0.1, 0.1), head=0.1)
    """
    epochs, rate = settings.epochs, settings.backbone_lr_multiplier
    frozen, unfrozen = (0,) * groups, (rate,) * groups
    strategy = settings.strategy
    if rate == 0 and strategy != "layer_decay":
        strategy = "linear_probe"
    match strategy:
        case "linear_probe":
            return [Phase("head", epochs, frozen, 1)]
        case "full":
            return [Phase("all", epochs, unfrozen, 1)]
        case "layer_decay":
            depths = range(groups, 0, -1)
            rates = tuple(settings.layer_decay**depth for depth in depths)
            return [Phase("all", epochs, rates, 1)]
        case "head_then_all":
            alone = settings.freeze_epochs or max(1, round(HEAD_SHARE * epochs))
            alone = min(alone, epochs - 1)
            return [
                Phase("head", alone, frozen, 1),
                Phase("all", epochs - alone, unfrozen, rate),
            ]
        case "gradual_unfreezing":
            return _gradual(epochs, groups, rate)
        case _:
            raise ValueError(f"Unknown strategy. Received: {settings.strategy}")


def _gradual(epochs, groups, rate):
    """Block after block; several groups make a block where epochs are too few."""
    blocks = np.array_split(np.arange(groups), min(groups, epochs - 1))
    parts = [len(part) for part in np.array_split(np.arange(epochs), len(blocks) + 1)]
    phases = [Phase("head", parts[0], (0,) * groups, 1)]
    for number, block in enumerate(reversed(blocks), 1):
        first = int(block[0])
        rates = (0,) * first + (rate,) * (groups - first)
        name = f"{number} block{'s' if number > 1 else ''}" if first else "all"
        phases.append(Phase(name, parts[number], rates, rate))
    return phases
