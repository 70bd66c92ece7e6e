"""From the trials of a wide search to the region that did well, and why."""

import math
from statistics import fmean

from keras_tuner import HyperParameters
from scipy.stats import hypergeom, ks_2samp

KEEP = 0.25  # of the trials are the best ones
BEST_AT_LEAST = 3
TRIALS_AT_LEAST = 8
CHANCE = 0.1  # above it, the best ones' values are taken to be like the others'


def narrow(space, rows, is_max=True, keep=KEEP):
    """Narrows each hyperparameter whose best trials have other values than the rest.

    A number's range becomes that of the best trials, and on each side on to the next
    value that was tried. It stays where a Kolmogorov-Smirnov test finds that chance
    draws such best values from all with a probability above 0.1, or where the trials
    in the new range are no better, on average of their ranks, than those outside. Of a
    choice, a value is left out if none of the best trials has it and chance does that
    with a probability below 0.1 (hypergeometric). So a hyperparameter that matters
    little is mostly left wide.

    Args:
        space: A `keras_tuner.HyperParameters`.
        rows: List of `(values, score)` of trials: a dict, of the active values alone,
            and a number, or None for a trial that failed.
        is_max: Whether higher scores are better.
        keep: Share of the trials that count as best.

    Returns:
        List of dicts, one for each hyperparameter: "name", "is_range", "old", "new",
        "p", "best" and "rest", the values of the trials, and "reason", a sentence.
        Ranges are `[min, max]`, choices lists of values.
    """

    def goodness(row):
        if row[1] is None:
            return -math.inf
        return row[1] if is_max else -row[1]

    order = sorted(rows, key=goodness, reverse=True)
    return [_narrow_one(each, order, keep) for each in space.space]


def _narrow_one(each, order, keep):
    rows = [row for row in order if each.name in row[0]]
    count = min(max(BEST_AT_LEAST, math.ceil(keep * len(rows))), len(rows))
    tried = [values[each.name] for values, _ in rows]
    best, rest = tried[:count], tried[count:]
    is_range = hasattr(each, "min_value")
    old = bounds(each)
    change = {"name": each.name, "is_range": is_range, "old": old, "new": old}
    change |= {"p": None, "best": best, "rest": rest}
    if is_settled(each):
        return change | {"reason": "It has one value."}
    if len(rows) < TRIALS_AT_LEAST:
        return change | {"reason": f"Too few trials have it to tell: {len(rows)}."}
    if is_range:
        return change | _narrow_range(each, best, rest, rows)
    return change | _narrow_choice(old, best, rest)


def _narrow_range(each, best, rest, rows):
    p = float(ks_2samp(best, rest).pvalue)
    low, high = min(best), max(best)
    told = (
        f"The best {len(best)} of {len(rows)} trials lie between {low:.3g} and "
        f"{high:.3g}"
    )
    if p > CHANCE:
        return {"p": p, "reason": f"{told}, spread as the others are (p = {p:.2g})."}
    below = [value for value in rest if value < low]
    above = [value for value in rest if value > high]
    new = [max(below, default=each.min_value), min(above, default=each.max_value)]
    places = {True: [], False: []}
    for place, (values, _) in enumerate(rows):
        places[new[0] <= values[each.name] <= new[1]].append(place)
    inside, outside = places[True], places[False]
    if not outside:
        return {"p": p, "reason": f"{told}, which leaves nothing out."}
    if fmean(inside) >= fmean(outside):
        return {"p": p, "reason": f"{told}, but so do many of the worst."}
    scores = [
        [rows[place][1] for place in group if rows[place][1] is not None]
        for group in (inside, outside)
    ]
    means = [f"{fmean(group):.3g}" if group else "none" for group in scores]
    reason = (
        f"{told}, otherwise than the rest (p = {p:.2g}). Mean score inside {means[0]}, "
        f"outside {means[1]}."
    )
    return {"p": p, "new": new, "reason": reason}


def _narrow_choice(old, best, rest):
    total = len(best) + len(rest)
    kept, left_out, chances = [], [], []
    for value in old:
        times = best.count(value) + rest.count(value)
        chance = float(hypergeom.pmf(0, total, times, len(best)))
        if value not in best and chance < CHANCE:
            left_out.append(f"{value} ({times} trials, p = {chance:.2g})")
            chances.append(chance)
        else:
            kept.append(value)
    told = f"the best {len(best)} of {total} trials"
    if not left_out:
        return {"reason": f"No value is plainly missing among {told}."}
    reason = f"None of {told} has {' or '.join(left_out)}."
    return {"p": min(chances), "new": kept, "reason": reason}


def bounds(each):
    """The range of a hyperparameter, `[min, max]`, or its values."""
    if hasattr(each, "min_value"):
        return [each.min_value, each.max_value]
    return list(each.values)


def is_settled(each):
    """Whether a hyperparameter has one value alone."""
    found = bounds(each)
    return len(set(found)) == 1


def apply(space, changes, defaults):
    """A copy of a space with the new ranges.

    Args:
        space: A `keras_tuner.HyperParameters`.
        changes: What `narrow` returned.
        defaults: Dict of values, such as the best trial's, to begin with.

    Returns:
        `keras_tuner.HyperParameters`.
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


def rebuilt(space, configure):
    """A copy of a space whose parts have other configurations.

    Args:
        space: A `keras_tuner.HyperParameters`.
        configure: Function from a hyperparameter to its configuration; with "values"
            in it, it becomes a choice, and with "value" it is fixed.
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
