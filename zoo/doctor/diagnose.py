"""diagnose: finds the problems of a training, their causes, and what to do next."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from hornbook.recipes.diagnosis.verdict import CurveReport
from hornbook.zoo.doctor import run_rules  # noqa: F401
from hornbook.zoo.doctor.finding import RUN_RULES, Finding, apply
from hornbook.zoo.doctor.model_inspection import is_arrays
from hornbook.zoo.doctor.review import review
from hornbook.zoo.doctor.training_log import TrainingLog

CURVES = ("diverged", "unstable", "always_overfits", "overfits", "underfits")
GRADIENTS = ("vanishing_gradient", "exploding_gradient", "activation_drift")
UNITS = ("dead_relu", "saturation", "saturating_activation", "batchnorm_mismatch")
RATES = ("rate_too_large", "rate_too_small")
ALL = (*RATES, *UNITS, *GRADIENTS, *CURVES)
# Which finding can cause which: fix the cause, then diagnose again.
EXPLAINS = {
    "non_finite_weights": (*ALL, "unnormalised_input"),
    "labels": (*ALL, "shuffled_labels"),
    "logits": ALL,
    "unnormalised_input": ALL,
    "shuffled_labels": ALL,
    "symmetric_kernel": ALL,
    "tiny_batch": ("batchnorm_mismatch", "rate_too_large", *CURVES),
    "frozen_in_between": CURVES,
    "rate_too_large": (*UNITS, *GRADIENTS, *CURVES),
    "dead_relu": ("rate_too_small", *GRADIENTS, *CURVES),
    "saturation": ("saturating_activation", *RATES, *GRADIENTS, *CURVES),
    "batchnorm_mismatch": CURVES,
    "rate_too_small": (*GRADIENTS, *CURVES),
    "vanishing_gradient": ("activation_drift", *CURVES),
    "exploding_gradient": ("activation_drift", *CURVES),
}


@dataclass(frozen=True)
class Diagnosis:
    """Result of `diagnose`; `print` shows it in words.

    Attributes:
        findings: List of `Finding`, the most important first.
        consequences: Findings that others can cause: diagnose again after the change.
        curves: A `CurveReport`, or `None` without a history.
        actions: What to do, in order; make one change at a time.
        log: The `TrainingLog` that was examined.
    """

    findings: list[Finding]
    consequences: list[Finding]
    curves: CurveReport | None
    actions: list[str]
    log: TrainingLog = field(repr=False)

    @property
    def healthy(self) -> bool:
        """Whether there are no findings except notes."""
        return all(each.level == "note" for each in self.findings)

    def __str__(self) -> str:
        lines = ["No problems found."] if self.healthy else []
        for each in self.findings:
            where = f" at {each.layer}" if each.layer else ""
            note = " (note)" if each.level == "note" else ""
            lines += [f"{each.rule}{where}{note}: {each.evidence}.", f"  {each.why}"]
        if self.consequences:
            names = dict.fromkeys(each.rule for each in self.consequences)
            lines.append(f"Possible consequences: {', '.join(names)}.")
        if self.curves:
            lines.append(f"Curves: {str(self.curves).splitlines()[0]}.")
        if self.actions:
            lines.append("What to do, one change at a time:")
            lines += [f"  {n}. {each}" for n, each in enumerate(self.actions, 1)]
        return "\n".join(lines)


def diagnose(
    model: keras.Model | None = None,
    data: Any = None,
    validation_data: Any = None,
    batch_size: int | None = None,
    history: Any = None,
    monitor: Iterable[Mapping[str, Any]] | None = None,
    baseline: float | None = None,
) -> Diagnosis:
    """Diagnoses a training from its model, its curves and its monitor's table.

    All arguments are optional; each one enables more rules. If one finding can cause
    another, the other is listed as a consequence: change one thing, train, and diagnose
    again.

    A verdict of "fits", "plateaued" or "still improving" is not a finding: the three
    differ in when the training was stopped, and are hard to tell apart.

    Args:
        model: As for `review`; preferably as it was before training.
        data: The training set, as for `review`.
        validation_data: As for `review`.
        batch_size: As for `review`.
        history: As for `hornbook.recipes.diagnosis.verdict`.
        monitor: Rows of `TrainingMonitor`, or of `read_table` from its file.
        baseline: As for `verdict`. Defaults to the entropy of the classes, if the model
            is compiled with a cross-entropy and `data` has labels.

    Returns:
        A `Diagnosis`.

    Example:

    >>> history = {
    ...     "loss": [2.0, 1.0, 0.6, 0.4, 0.3, 0.2, 0.15, 0.1, 0.08, 0.05],
    ...     "val_loss": [1.9, 1.2, 0.9, 0.8, 0.8, 0.9, 1.1, 1.3, 1.5, 1.7],
    ... }
    >>> diagnosis = diagnose(history=history)
    >>> [finding.rule for finding in diagnosis.findings]
    ['overfits']
    >>> diagnosis.actions[0]
    'Stop at the best epoch: `EarlyStopping(restore_best_weights=True)`.'
    """
    x_y = _arrays(data)
    if baseline is None:
        baseline = _entropy(model, x_y)
    log = TrainingLog(history, monitor, x_y, baseline)
    found = [] if model is None else review(model, data, validation_data, batch_size)
    seen = {(each.rule, each.layer) for each in found}
    run_found = apply(RUN_RULES, log)
    found += [each for each in run_found if (each.rule, each.layer) not in seen]

    causes = {each.rule for each in found if each.level == "finding"}
    explained = {
        each for cause, these in EXPLAINS.items() if cause in causes for each in these
    }
    order = [*EXPLAINS, *CURVES]
    found.sort(key=lambda f: order.index(f.rule) if f.rule in order else len(order))
    findings = [each for each in found if each.rule not in explained]
    findings.sort(key=lambda each: each.level == "note")
    actions = [each.change for each in findings if each.level == "finding"]
    if log.curves and not set(actions) - set(log.curves.actions):
        actions += log.curves.actions  # no problem: continue as the curves say
    return Diagnosis(
        findings=findings,
        consequences=[each for each in found if each.rule in explained],
        curves=log.curves,
        actions=list(dict.fromkeys(actions)),
        log=log,
    )


def diagnose_history(rows: Any) -> Diagnosis:
    """Diagnoses a training from its curves alone.

    Args:
        rows: A dict for each epoch, with `loss` and optionally `val_loss`, or any
            history that `verdict` takes.

    Returns:
        A `Diagnosis`.

    Example:

    >>> rows = [{"loss": loss, "val_loss": loss} for loss in (2.3, float("nan"), 1.0)]
    >>> [finding.rule for finding in diagnose_history(rows).findings]
    ['diverged']
    """
    return diagnose(history=rows)


def _arrays(data: Any) -> tuple[Any, Any] | None:
    if data is None or not is_arrays(data):
        return None
    x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
    return None if y is None else (x, y)


def _entropy(model: keras.Model | None, x_y: tuple[Any, Any] | None) -> float | None:
    """Entropy of the classes, if the loss of the model is a cross-entropy."""
    loss = getattr(model, "loss", None)
    name = getattr(loss, "name", getattr(loss, "__name__", loss))
    if x_y is None or not isinstance(name, str) or "crossentropy" not in name:
        return None
    y = np.asarray(keras.tree.flatten(x_y[1])[0])
    y = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)
    shares = np.unique(y, return_counts=True)[1] / len(y)
    return float(-(shares * np.log(shares)).sum()) or None
