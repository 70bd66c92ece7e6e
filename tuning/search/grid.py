"""A grid over a space that has no more points than there are trials for."""

import math

from hornbook.errors import InputError
from hornbook.tuning.search.narrowing import bounds, is_settled, rebuilt


def coarsen(space, trials):
    """Puts each range on as many points, evenly in its own scale, as trials allow.

    keras-tuner's grid takes ten of each, in order: cut off, it would have seen one
    corner of the space.

    Args:
        space: A `keras_tuner.HyperParameters`.
        trials: How many points the grid may have.

    Returns:
        A `keras_tuner.HyperParameters` of choices, and how many points it has.

    Raises:
        InputError: if even two points of each range are too many.
    """
    ranges = [each for each in space.space if _is_range(each)]
    choices = [
        len(bounds(each)) for each in space.space if not hasattr(each, "min_value")
    ]
    steps = 1
    while ranges and _count(ranges, choices, steps + 1) <= trials:
        if _count(ranges, choices, steps + 1) == _count(ranges, choices, steps):
            break  # Ranges of a few integers are used up.
        steps += 1
    if (ranges and steps < 2) or _count(ranges, choices, steps) > trials:
        needed = _count(ranges, choices, 2)
        raise InputError(
            f"A grid over {len(ranges) + len(choices)} hyperparameters has at least "
            f"{needed} points: search at random, fix some, or allow more trials. "
            f"Received: {trials} trials for it"
        )

    def configure(each):
        config = each.get_config()
        if not hasattr(each, "min_value"):
            return config
        kept = {name: config[name] for name in ("name", "conditions")}
        return kept | {"values": _points(each, steps)}

    return rebuilt(space, configure), _count(ranges, choices, steps)


def _is_range(each):
    return hasattr(each, "min_value") and not is_settled(each)


def _points(each, steps):
    """Evenly spread values, with both ends."""
    if is_settled(each):
        return [each.min_value]
    # keras-tuner's probabilities are below 1; at 1 it would step beyond the last value.
    is_smooth = isinstance(each.min_value, float) and each.step is None
    last = 1.0 if is_smooth else 1 - 1e-9
    spread = (
        [last * place / (steps - 1) for place in range(steps)] if steps > 1 else [0]
    )
    values = [each.prob_to_value(place) for place in spread]
    return sorted(dict.fromkeys(values))


def _count(ranges, choices, steps):
    return math.prod([len(_points(each, steps)) for each in ranges] + choices)
