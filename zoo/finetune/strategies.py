"""What is trained when: each strategy as phases of rates' multiples."""

from dataclasses import dataclass

import numpy as np


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
    def frozen(self):
        """Whether the head is trained alone."""
        return not any(self.backbone)


def plan(settings, groups):
    """The phases of a strategy.

    Args:
        settings: `Settings`.
        groups: How many groups of layers the backbone has.

    Returns:
        List of `Phase`; their epochs add up to the settings'.

    Example:

    >>> from hornbook.zoo.finetune.settings import Settings
    >>> for phase in plan(Settings(strategy="gradual", epochs=5), groups=3):
    ...     print(phase)
    Phase(name='head', epochs=2, backbone=(0, 0, 0), head=1)
    Phase(name='1 block', epochs=1, backbone=(0, 0, 0.1), head=0.1)
    Phase(name='2 blocks', epochs=1, backbone=(0, 0.1, 0.1), head=0.1)
    Phase(name='all', epochs=1, backbone=(0.1, 0.1, 0.1), head=0.1)
    """
    epochs, rate = settings.epochs, settings.backbone_rate
    frozen, thawed = (0,) * groups, (rate,) * groups
    match settings.strategy:
        case "probe":
            return [Phase("head", epochs, frozen, 1)]
        case "full":
            return [Phase("all", epochs, thawed, 1)]
        case "layer_decay":
            depths = range(groups, 0, -1)
            rates = tuple(settings.decay**depth for depth in depths)
            return [Phase("all", epochs, rates, 1)]
        case "thaw":
            alone = min(max(1, round(epochs * settings.head_share)), epochs - 1)
            return [
                Phase("head", alone, frozen, 1),
                Phase("all", epochs - alone, thawed, rate),
            ]
        case "gradual":
            return _gradual(epochs, groups, rate)


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
