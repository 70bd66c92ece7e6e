"""Narrows a search space to the region in which the best trials lie."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from keras_tuner import HyperParameters
from scipy.stats import hypergeom, ks_2samp

KEEP = 0.25  # The share of the trials that count as best.
BEST_AT_LEAST = 3
TRIALS_AT_LEAST = 8
P_VALUE = 0.1  # Above it, the values of the best trials count as drawn by chance.

Change = dict[str, Any]
Row = tuple[Mapping[str, Any], float | None]


def narrow(
    space: HyperParameters,
    rows: Sequence[Row],
    is_max: bool = True,
    keep: float = KEEP,
) -> list[Change]:
    """Narrows each hyperparameter whose values differ in the best trials.

    The range of a number becomes the range of the best trials, extended on each side to
    the next value that was tried. It stays as it is if the p-value of a
    Kolmogorov-Smirnov test between the best trials and the rest is above 0.1, or if the
    mean rank of the trials inside the new range is no better than outside. A value of a
    choice is left out if none of the best trials has it and the probability of that by
    chance is below 0.1 (hypergeometric distribution). So a hyperparameter that has
    little effect mostly keeps its range.

    Args:
        space: A `keras_tuner.HyperParameters`.
        rows: List of `(values, score)` of trials: a dict of the active values, and a
            float, or `None` for a trial that failed.
        is_max: Whether higher scores are better.
        keep: Float, the share of the trials that count as best.

    Returns:
        List of dicts, one for each hyperparameter: "name"; "is_range"; "old" and "new",
        `[min, max]` or the list of the choices; "p", the p-value; "best" and "rest",
        the values of the trials; and "reason", a sentence.
    """

    def goodness(row):
        if row[1] is None:
            return -math.inf
        return row[1] if is_max else -row[1]

    order = sorted(rows, key=goodness, reverse=True)
    return [_narrow_one(each, order, keep) for each in space.space]


def _narrow_one(each: Any, order: Sequence[Row], keep: float) -> Change:
    rows = [row for row in order if each.name in row[0]]
    count = min(max(BEST_AT_LEAST, math.ceil(keep * len(rows))), len(rows))
    tried = [values[each.name] for values, _ in rows]
    best, rest = tried[:count], tried[count:]
    is_range = hasattr(each, "min_value")
    old = bounds(each)
    change = {"name": each.name, "is_range": is_range, "old": old, "new": old}
    change |= {"p": None, "best": best, "rest": rest}
    if is_settled(each):
        return change | {"reason": "It has only one value."}
    if len(rows) < TRIALS_AT_LEAST:
        return change | {"reason": f"Too few trials have it: {len(rows)}."}
    if is_range:
        return change | _narrow_range(each, best, rest, rows)
    return change | _narrow_choice(old, best, rest)


def _narrow_range(
    each: Any, best: list[Any], rest: list[Any], rows: Sequence[Row]
) -> Change:
    p = float(ks_2samp(best, rest).pvalue)
    low, high = min(best), max(best)
    found = (
        f"The best {len(best)} of {len(rows)} trials lie between {low:.3g} and "
        f"{high:.3g}"
    )
    if p > P_VALUE:
        return {"p": p, "reason": f"{found}, spread like the rest (p = {p:.2g})."}
    below = [value for value in rest if value < low]
    above = [value for value in rest if value > high]
    new = [max(below, default=each.min_value), min(above, default=each.max_value)]
    ranks: dict[bool, list[int]] = {True: [], False: []}
    for rank, (values, _) in enumerate(rows):
        ranks[new[0] <= values[each.name] <= new[1]].append(rank)
    inside, outside = ranks[True], ranks[False]
    if not outside:
        return {"p": p, "reason": f"{found}, which is the whole range."}
    if fmean(inside) >= fmean(outside):
        return {"p": p, "reason": f"{found}, but so do many of the worst trials."}
    scores: list[list[Any]] = [
        [rows[rank][1] for rank in group if rows[rank][1] is not None]
        for group in (inside, outside)
    ]
    means = [f"{fmean(group):.3g}" if group else "none" for group in scores]
    reason = (
        f"{found}, unlike the rest (p = {p:.2g}). The mean score inside the new range "
        f"is {means[0]}, outside {means[1]}."
    )
    return {"p": p, "new": new, "reason": reason}


def _narrow_choice(old: list[Any], best: list[Any], rest: list[Any]) -> Change:
    total = len(best) + len(rest)
    kept, left_out, chances = [], [], []
    for value in old:
        times = best.count(value) + rest.count(value)
        chance = float(hypergeom.pmf(0, total, times, len(best)))
        if value not in best and chance < P_VALUE:
            left_out.append(f"{value} ({times} trials, p = {chance:.2g})")
            chances.append(chance)
        else:
            kept.append(value)
    found = f"the best {len(best)} of {total} trials"
    if not left_out:
        return {"reason": f"No value is missing among {found} by more than chance."}
    reason = f"None of {found} has {' or '.join(left_out)}."
    return {"p": min(chances), "new": kept, "reason": reason}


def bounds(each: Any) -> list[Any]:
    """Returns the range of a hyperparameter, `[min, max]`, or its values."""
    if hasattr(each, "min_value"):
        return [each.min_value, each.max_value]
    return list(each.values)


def is_settled(each: Any) -> bool:
    """Whether a hyperparameter has only one value."""
    found = bounds(each)
    return len(set(found)) == 1


def apply(
    space: HyperParameters, changes: Sequence[Change], defaults: Mapping[str, Any]
) -> HyperParameters:
    """Returns a copy of a search space with the new ranges.

    Args:
        space: A `keras_tuner.HyperParameters`.
        changes: What `narrow` returned.
        defaults: Dict of the values to begin with, such as those of the best trial.
    """
    new = {change["name"]: change["new"] for change in changes}

    def narrowed(each):
        config = each.get_config()
        region = new.get(each.name, bounds(each))
        value = defaults.get(each.name, each.default)
        if hasattr(each, "min_value"):
            config["min_value"], config["max_value"] = region
            config["default"] = min(max(value, region[0]), region[1])
        elif "values" in config:
            config["values"] = region
            config["default"] = value if value in region else region[0]
        elif len(region) == 1:  # A Boolean; its choices cannot be given.
            config["value"] = region[0]
        return config

    return rebuilt(space, narrowed)


def rebuilt(
    space: HyperParameters, configure: Callable[[Any], dict[str, Any]]
) -> HyperParameters:
    """Returns a copy of a search space with other configurations.

    Args:
        space: A `keras_tuner.HyperParameters`.
        configure: Function from a hyperparameter to its configuration. If that has
            "values", the hyperparameter becomes a choice, and if it has "value", it is
            fixed.
    """
    parts = []
    for each in space.space:
        config = configure(each)
        kind = type(each).__name__
        if "values" in config:
            kind = "Choice"
        elif "value" in config:
            kind = "Fixed"
            config.pop("default", None)
        parts.append({"class_name": kind, "config": config})
    copy = HyperParameters.from_config({"space": parts, "values": {}})
    for each in copy.space:
        if copy.is_active(each):
            copy.values[each.name] = each.default
    return copy
