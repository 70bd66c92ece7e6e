"""Grids that have no more points than there are trials."""

import math
from collections.abc import Sequence
from typing import Any

import keras_tuner

from hornbook.errors import InputError
from hornbook.tuning.search.narrowing import bounds, is_settled, rebuilt


def coarsen(
    space: keras_tuner.HyperParameters, trials: int
) -> tuple[keras_tuner.HyperParameters, int]:
    """Replaces each range by as many points as the number of trials allows.

    The points are spread evenly on the scale of the range. keras-tuner's own grid has
    ten points for each range and goes through them in order; if it ends early, it has
    seen one corner of the space only.

    Args:
        space: A `keras_tuner.HyperParameters`.
        trials: Integer, how many points the grid may have.

    Returns:
        A `keras_tuner.HyperParameters` of choices, and the number of its points.

    Raises:
        InputError: If even a grid with two points for each range is too large.
    """
    ranges = [each for each in space.space if _is_range(each)]
    choices = [
        len(bounds(each)) for each in space.space if not hasattr(each, "min_value")
    ]
    steps = 1
    while ranges and _count(ranges, choices, steps + 1) <= trials:
        if _count(ranges, choices, steps + 1) == _count(ranges, choices, steps):
            break  # All ranges are of integers, and have all their values.
        steps += 1
    if (ranges and steps < 2) or _count(ranges, choices, steps) > trials:
        needed = _count(ranges, choices, 2)
        raise InputError(
            f"A grid over {len(ranges) + len(choices)} hyperparameters has at least "
            f"{needed} points. Use a random search, fix some hyperparameters, or allow "
            f"more trials. Received: trials={trials}"
        )

    def configure(each):
        config = each.get_config()
        if not hasattr(each, "min_value"):
            return config
        kept = {name: config[name] for name in ("name", "conditions")}
        return kept | {"values": _points(each, steps)}

    return rebuilt(space, configure), _count(ranges, choices, steps)


def _is_range(each: Any) -> bool:
    return hasattr(each, "min_value") and not is_settled(each)


def _points(each: Any, steps: int) -> list[Any]:
    """Evenly spread values, with both ends."""
    if is_settled(each):
        return [each.min_value]
    # keras-tuner's probabilities are below 1; at 1 it would step beyond the last value.
    is_smooth = isinstance(each.min_value, float) and each.step is None
    last = 1.0 if is_smooth else 1 - 1e-9
    spread = [last * step / (steps - 1) for step in range(steps)] if steps > 1 else [0]
    values = [each.prob_to_value(probability) for probability in spread]
    return sorted(dict.fromkeys(values))


def _count(ranges: Sequence[Any], choices: Sequence[int], steps: int) -> int:
    return math.prod([len(_points(each, steps)) for each in ranges] + [*choices])
