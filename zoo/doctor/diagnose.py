"""diagnose: what is wrong with a run, what came of it, and what to do next."""

from dataclasses import dataclass, field

import keras
import numpy as np

from hornbook.recipes.diagnosis.verdict import CurveReport
from hornbook.zoo.doctor import run_rules  # noqa: F401
from hornbook.zoo.doctor.finding import RUN_RULES, Finding, apply
from hornbook.zoo.doctor.model_inspection import is_arrays
from hornbook.zoo.doctor.review import review
from hornbook.zoo.doctor.training_log import Run

CURVES = ("diverged", "unstable", "always_overfits", "overfits", "underfits")
GRADIENTS = ("vanishing_gradient", "exploding_gradient", "activation_drift")
UNITS = ("dead_relu", "saturation", "saturating_activation", "batchnorm_mismatch")
RATES = ("rate_too_large", "rate_too_small")
ALL = (*RATES, *UNITS, *GRADIENTS, *CURVES)
# What may come of what: repaired is the cause, and then looked again.
EXPLAINS = {
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
    """What `diagnose` found; `print` shows it in words.

    Attributes:
        findings: List of `Finding`, what to change first at the head.
        consequences: Those that may come of one of them: look again afterwards.
        curves: A `CurveReport`, or `None` without a history.
        actions: What to do, the first thing first: one change at a time.
        run: The `Run` that was looked at.
    """

    findings: list[Finding]
    consequences: list[Finding]
    curves: CurveReport | None
    actions: list[str]
    run: Run = field(repr=False)

    @property
    def healthy(self):
        """Whether nothing is found but notes."""
        return all(each.level == "note" for each in self.findings)

    def __str__(self):
        lines = ["Nothing is found to be wrong."] if self.healthy else []
        for each in self.findings:
            where = f" at {each.layer}" if each.layer else ""
            note = " (note)" if each.level == "note" else ""
            lines += [f"{each.rule}{where}{note}: {each.evidence}.", f"  {each.why}"]
        if self.consequences:
            names = dict.fromkeys(each.rule for each in self.consequences)
            lines.append(f"May come of it: {', '.join(names)}.")
        if self.curves:
            lines.append(f"Curves: {str(self.curves).splitlines()[0]}.")
        if self.actions:
            lines.append("Next, one change at a time:")
            lines += [f"  {n}. {each}" for n, each in enumerate(self.actions, 1)]
        return "\n".join(lines)


def diagnose(
    model=None,
    data=None,
    validation_data=None,
    batch_size=None,
    history=None,
    monitor=None,
    baseline=None,
):
    """Puts together what the model, the curves and the monitor's table tell.

    All are optional; each lets more rules speak. Where one finding can be the cause of
    another, the other is listed as a consequence: repair one thing, run, look again.

    A verdict of "fits", "plateaued" or "still improving" is no finding: the three
    differ in when a run was stopped, and are often taken for each other.

    Args:
        model: As for `review`; best as it was before training.
        data: As for `review`, the training set.
        validation_data: As for `review`.
        batch_size: As for `review`.
        history: As for `hornbook.recipes.diagnosis.verdict`.
        monitor: Rows of `TrainingMonitor`, or of `read_table` from its file.
        baseline: As for `verdict`. By default, for a compiled cross-entropy and labels
            in `data`, the entropy of the classes.

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
    run = Run(history, monitor, x_y, baseline)
    found = [] if model is None else review(model, data, validation_data, batch_size)
    seen = {(each.rule, each.layer) for each in found}
    run_found = apply(RUN_RULES, run)
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
    if run.curves and not set(actions) - set(run.curves.actions):
        actions += run.curves.actions  # nothing is broken: go on as the curves say
    return Diagnosis(
        findings=findings,
        consequences=[each for each in found if each.rule in explained],
        curves=run.curves,
        actions=list(dict.fromkeys(actions)),
        run=run,
    )


def diagnose_history(rows):
    """Diagnoses a run of which there are the curves alone.

    Args:
        rows: One dict an epoch, with `loss` and perhaps `val_loss`, or any history
            that `verdict` takes.

    Returns:
        A `Diagnosis`.

    Example:

    >>> rows = [{"loss": loss, "val_loss": loss} for loss in (2.3, float("nan"), 1.0)]
    >>> [finding.rule for finding in diagnose_history(rows).findings]
    ['diverged']
    """
    return diagnose(history=rows)


def _arrays(data):
    if data is None or not is_arrays(data):
        return None
    x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
    return None if y is None else (x, y)


def _entropy(model, x_y):
    """Of the classes, where a model's loss is a cross-entropy of them."""
    loss = getattr(model, "loss", None)
    name = getattr(loss, "name", getattr(loss, "__name__", loss))
    if x_y is None or not isinstance(name, str) or "crossentropy" not in name:
        return None
    y = np.asarray(keras.tree.flatten(x_y[1])[0])
    y = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)
    shares = np.unique(y, return_counts=True)[1] / len(y)
    return float(-(shares * np.log(shares)).sum()) or None
