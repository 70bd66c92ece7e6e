# SPDX-License-Identifier: Apache-2.0
"""verdict: what the learning curves say about a run, and what to do next.

What:    reads the training and validation loss of a run and says whether it underfits,
         fits, overfits, still improves and so on, how confidently, why, and what to do.
When:    after each training run, before anything is changed.
Not for: telling a network that is too small from labels that cannot be predicted any
         better: in both cases the loss stays high. Losses whose best value is not 0.
Source:  Goodfellow, Bengio and Courville, "Deep Learning", MIT Press 2016, sections 5.2
         (capacity, overfitting and underfitting) and 11.3 (more data or another model);
         Prechelt, "Early Stopping - But When?", Neural Networks: Tricks of the Trade,
         1998 (measures on curves).
Differs: there curves are judged by eye, or by when to stop. Here nine limits decide,
         fitted on runs whose condition was known: docs/studies/curve_verdicts.json.
Needs:   numpy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# As fractions of the loss of a guess, except `restless` and `missed`.
LIMITS = {
    "diverged": 2.8,  # training loss at the end
    "thrown": 7.1,  # training loss at its highest
    "restless": 0.21,  # way back and forth of the loss's logarithm, an epoch
    "high": 0.24,  # training loss at the end: above, nothing much was learned
    "missed": 1.0,  # of the training loss's fall, what the validation loss never fell
    "gap": 0.2,  # validation loss at the end above the training loss
    "risen": 0.056,  # validation loss at the end above its best
    "ahead": 0.032,  # fall that as many epochs again would bring
    "flat": 0.0055,  # fall over the last half: below, it is long over
}
WHOLE = 10  # epochs, below which confidence shrinks
SHORT = 3  # epochs, with fewer of which there is no curve yet
MISSING = (None, "", "NA")  # in a CSV, epochs without validation

REGULARISE = (
    "Then add one regulariser at a time: BatchNormalization, weight decay, dropout, "
    "augmentation, an ensemble; or fine-tune a pretrained model."
)
ACTIONS = {
    "underfits": (
        "Make the model more complex: more units, then more layers.",
        "Check that it trains at all: inputs scaled, another learning rate, no dead "
        "units, labels that belong to their inputs.",
        "Use weaker regularisers. Never remove training data.",
    ),
    "fits": (
        "Keep it. If the error is still too high, compare it with a more complex model "
        "under the same budget.",
    ),
    "overfits": (
        "Stop at the best epoch: `EarlyStopping(restore_best_weights=True)`.",
        "Get more training data.",
        "Make the model less complex.",
        REGULARISE,
    ),
    "always overfits": (
        "Check that labels belong to their inputs and that both sets come from one "
        "distribution; then get more training data.",
        "Make the model less complex.",
        REGULARISE,
    ),
    "unstable": (
        "Scale inputs and targets, if they are not.",
        "Divide the learning rate by 3 to 10.",
        "Make the batch larger, or clip the gradient's norm.",
    ),
    "diverged": (
        "Look for NaN, infinity and huge values in inputs and labels.",
        "Divide the learning rate by 10.",
        "Clip the gradient's norm, or warm the rate up.",
    ),
    "still improving": (
        "Train longer.",
        "If it is slow from the start, try three times the learning rate.",
    ),
    "plateaued": (
        "Stop earlier: more epochs do not help.",
        "If the error is still too high, lower the learning rate, or use a schedule.",
        "If that does not help, compare it with a more complex model.",
    ),
}
CONDITIONS = tuple(ACTIONS)


@dataclass(frozen=True)
class CurveReport:
    """What `verdict` found; `print` shows it in words.

    Attributes:
        condition: One of "underfits", "fits", "overfits", "always overfits",
            "unstable", "diverged", "still improving" and "plateaued".
        epoch: The epoch, from 1, after which it overfits, or at which it diverged;
            else `None`.
        best_epoch: The epoch, from 1, of the lowest loss: validation loss where there
            is one. `None` where no loss is finite.
        gap: Validation loss minus training loss at the end, in units of the loss;
            `None` without validation, or where it is not finite.
        confidence: From 0 to 1: the fraction of changes to the limits, each halved to
            doubled on its own, that leave the condition as it is; times the number of
            epochs divided by 10, if there are fewer than 10. It is not a probability.
        evidence: Sentences.
        actions: What to do, the first thing first: one change at a time.
    """

    condition: str
    epoch: int | None
    best_epoch: int | None
    gap: float | None
    confidence: float
    evidence: tuple[str, ...]
    actions: tuple[str, ...]

    def __str__(self):
        since = {"overfits": " from epoch ", "diverged": " at epoch "}
        place = f"{since[self.condition]}{self.epoch}" if self.epoch else ""
        lines = [f"{self.condition}{place} (confidence {self.confidence:.2f})"]
        lines += [f"  {each}" for each in self.evidence]
        lines.append("Next, one change at a time:")
        lines += [f"  {n}. {each}" for n, each in enumerate(self.actions, 1)]
        return "\n".join(lines)


def verdict(
    history: Any,
    baseline: float | None = None,
    metric: str | None = None,
    limits: Mapping[str, float] = LIMITS,
) -> CurveReport:
    """Says what the learning curves show about a run.

    Everything is measured as a fraction of the loss at the start of the run, so that
    the unit of the loss makes no difference: losses times a constant get the same
    verdict. A constant that is added, such as a large weight penalty, changes it.

    Of 104 runs that were held out while the limits were fitted, 70 % are recognised
    correctly from the curves alone and 82 % with the baseline; with it, 93 % if "still
    improving", "fits" and "plateaued", which differ in when a run was stopped, count
    as one. A learning rate that is far too high is recognised in 4 of 11 runs without,
    in 11 with it.

    The first condition that applies is taken:

    1. diverged: a loss is not finite, or the training loss ends above its start.
    2. unstable: the loss goes up and down from epoch to epoch, or the training loss
       was once far above its start.
    3. always overfits: the training loss falls, the validation loss hardly ever does.
    4. overfits: the validation loss ends clearly above its best.
    5. still improving: as many epochs again would lower the loss clearly, if it
       continues to fall as it did over the last two quarters.
    6. underfits: the training loss stays high.
    7. plateaued: the last half of the epochs brought no improvement.
    8. fits: none of these.

    Without validation, overfitting cannot be seen, and neither can fitting: a run that
    would fit counts as plateaued. With fewer than 3 epochs there is no curve: what has
    not diverged counts as still improving, with confidence 0.

    Args:
        history: A Keras `History`, its dict of lists, anything with `keys()` and
            columns such as a DataFrame, or rows that are dicts, as `csv.DictReader`
            gives them. `loss` is required, `val_loss` recommended. Values may be text;
            epochs whose `val_loss` is missing (`None`, "" or "NA", not NaN) are filled
            in from their neighbours.
        baseline: Float above 0, the loss of the best constant guess on the training
            set, such as the logarithm of the number of equally frequent classes, or
            the variance of a regression's target. Defaults to the loss of the first
            epoch, which is lower if the network learns much within it.
        metric: Name of a metric whose last values are added to the evidence. Defaults
            to `None`.
        limits: Dict with a value for each of `LIMITS`, such as ones fitted on your own
            runs. Defaults to `LIMITS`.

    Returns:
        A `CurveReport`.

    Raises:
        ValueError: If there is no `loss`, no epoch, a negative loss, curves of
            different lengths, no such metric, or a baseline that is not above 0.

    Example:
    >>> report = verdict(
    ...     {
    ...         "loss": [2.0, 1.0, 0.6, 0.4, 0.3, 0.2, 0.15, 0.1, 0.08, 0.05],
    ...         "val_loss": [1.9, 1.2, 0.9, 0.8, 0.8, 0.9, 1.1, 1.3, 1.5, 1.7],
    ...     }
    ... )
    >>> report.condition, report.epoch
    ('overfits', 4)
    >>> print(report.actions[0])
    Stop at the best epoch: `EarlyStopping(restore_best_weights=True)`.
    """
    columns = _columns(history)
    train, validation = _curve(columns, "loss"), _curve(columns, "val_loss")
    if train is None or not len(train):
        raise ValueError(
            "`history` must have a `loss` of one epoch or more. "
            f"Received: columns {sorted(map(str, columns.keys()))}"
        )
    if validation is not None and len(validation) != len(train):
        raise ValueError(
            "`val_loss` must have a value for each epoch: repeat or interpolate those "
            "that `validation_freq` left out. Received: "
            f"{len(train)} of loss, {len(validation)} of val_loss"
        )
    if baseline is not None and not 0 < baseline < np.inf:
        raise ValueError(
            f"`baseline` must be above 0 and finite. Received: baseline={baseline}"
        )
    if metric is not None and metric not in columns:
        raise ValueError(
            f"`metric` must be one of {sorted(map(str, columns.keys()))}. "
            f"Received: metric={metric!r}"
        )
    curves = [curve for curve in (train, validation) if curve is not None]
    if min(np.min(curve, where=curve == curve, initial=0) for curve in curves) < 0:
        raise ValueError(
            "A loss must not be negative: add a constant so that its best value is 0. "
            "Received: "
            f"{min(np.nanmin(curve) for curve in curves):.4g}"
        )

    finite = np.isfinite(curves).all(axis=0)
    seen = _measure(curves, baseline) if finite.all() else {}
    if not finite.all():
        condition, confidence = "diverged", 1.0
    elif len(train) < SHORT:
        condition, confidence = "still improving", 0.0
    else:
        condition = _decide(seen, limits)
        same = [
            _decide(seen, {**limits, name: limit * factor}) == condition
            for name, limit in limits.items()
            for factor in (1 / 2, 1 / 1.4, 1.4, 2)
        ]
        confidence = float(np.mean(same)) * min(1, len(train) / WHOLE)

    best = int(np.where(finite, curves[-1], np.inf).argmin()) + 1
    epoch = best if condition == "overfits" else None
    if condition == "diverged":
        epoch = int((finite & (train <= train[0])).argmin()) + 1
    return CurveReport(
        condition=condition,
        epoch=epoch,
        best_epoch=best if finite.any() else None,
        gap=float(seen["gap"] * seen["start"]) if "gap" in seen else None,
        confidence=confidence,
        evidence=tuple(_evidence(train, validation, seen, columns, metric)),
        actions=ACTIONS[condition],
    )


def _columns(history):
    """The history as a mapping, or as a table whose columns have names."""
    history = getattr(history, "history", history)
    if hasattr(history, "keys"):
        return history
    rows = list(history)
    if not all(isinstance(row, Mapping) for row in rows):
        raise ValueError(
            "`history` must be a History, a dict of lists, a table with named columns "
            f"or rows that are dicts. Received: {type(history).__name__}"
        )
    return {name: [row.get(name) for row in rows] for name in (rows or [{}])[0]}


def _curve(columns, name):
    """A curve as floats; what is missing is interpolated, `None` if all of it is."""
    values = list(columns[name]) if name in columns else []
    there = [i for i, value in enumerate(values) if value not in MISSING]
    if not there:
        return None
    known = np.array([values[i] for i in there], "float64")
    return np.interp(np.arange(len(values)), there, known)


def _smooth(curve):
    """The median over a tenth of the epochs around each, which no spike moves."""
    width = len(curve) // 20 * 2 + 1
    padded = np.pad(curve, width // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=-1)


def _measure(curves, baseline):
    """What the limits are compared with, as shares of the loss at the start."""
    train, watched = curves[0], _smooth(curves[-1])
    count = len(train)
    start = baseline or train[0] or np.finfo("float64").tiny
    tail = slice(-max(1, count // 10), None)
    end = np.mean(train[tail])
    # Below a thousandth of the start, ups and downs do not matter.
    logs = np.log(curves[-1] + start / 1000)[count // 3 :]
    way, net = np.abs(np.diff(logs)).sum(), np.abs(logs[-1] - logs[0])
    seen = {
        "start": start,
        "end": end / start,
        "thrown": train.max() / start,
        "restless": (way - net) / len(logs),
        "ahead": _ahead(watched) / start,
        "last_half": (watched[-1 - count // 2] - watched[-1]) / start,
    }
    if len(curves) > 1:
        best = watched.min()
        seen |= {
            "gap": (np.mean(curves[1][tail]) - end) / start,
            "risen": (watched[-1] - best) / start,
            "missed": (best - end) / max(start - end, 1e-9 * start),
        }
    return seen


def _ahead(curve):
    """How far a curve will fall, as a geometric series of its last two quarters.

    Its ratio is at most 0.8, where the series comes to four times its first term: a
    line that goes on for as long again.
    """
    if len(curve) < SHORT:
        return 0.0
    quarter = max(1, len(curve) // 4)
    third, last = -np.diff(curve[-1 - 2 * quarter :: quarter])
    if min(third, last) <= 0:
        return 0.0
    ratio = min(last / third, 0.8)
    return last * ratio / (1 - ratio)


def _decide(seen, limits):
    """The first condition that applies."""
    if seen["end"] > limits["diverged"]:
        return "diverged"
    if any(seen[name] > limits[name] for name in ("thrown", "restless")):
        return "unstable"
    if "gap" in seen and any(seen[name] > limits[name] for name in ("gap", "risen")):
        return "always overfits" if seen["missed"] > limits["missed"] else "overfits"
    if seen["ahead"] > limits["ahead"]:
        return "still improving"
    if seen["end"] > limits["high"]:
        return "underfits"
    if "gap" not in seen or seen["last_half"] < limits["flat"]:
        return "plateaued"
    return "fits"


def _evidence(train, validation, seen, columns, metric):
    """Yields sentences."""
    yield f"training loss {train[0]:.4g} → {train[-1]:.4g} in {len(train)} epochs"
    if validation is None:
        yield "no validation loss: overfitting cannot be seen"
    else:
        yield f"validation loss {validation[0]:.4g} → {validation[-1]:.4g}"
    if not seen:
        yield "a loss is not finite"
    elif len(train) < SHORT:
        yield "too few epochs to judge"
    else:
        yield (
            f"the training loss ends at {seen['end']:.0%} of that of a guess, its "
            f"highest was {seen['thrown']:.0%}"
        )
        if validation is not None:
            yield (
                f"the gap is {seen['gap']:.0%} of it; the validation loss ends "
                f"{seen['risen']:.0%} above its best"
            )
        yield f"the last half of the epochs lowered it by {seen['last_half']:.1%}"
        yield f"as many epochs again would lower it by about {seen['ahead']:.1%}"
        yield f"it fluctuates by {seen['restless']:.1%} of its value per epoch"
    if metric is not None:
        for name in (metric, f"val_{metric}"):
            if (values := _curve(columns, name)) is not None:
                yield f"{name} ends at {values[-1]:.4g}"
