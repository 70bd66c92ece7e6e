"""Rules on a training: its curves, and the table of `TrainingMonitor`."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hornbook.recipes.diagnosis.verdict import ACTIONS
from hornbook.zoo.doctor.finding import RUN_RULES, Found, rule
from hornbook.zoo.doctor.training_log import TrainingLog

run_rule = functools.partial(rule, rules=RUN_RULES)

SOME_DEAD, MANY_DEAD = 0.15, 0.4  # of the units of a layer; fewer are common
SATURATED = 0.5  # of a layer's outputs
LARGE, HUGE, SMALL = 0.05, 0.3, 1e-5  # update ratio: typical, largest, typical
SPREAD = 1e3  # factor by which gradients may differ between layers
OFF, SHIFTED = 1.6, 0.6  # ratio of variances, distance of means in standard deviations
SURE = 0.6  # confidence from which a verdict is a finding
KNOWN = 1e-4  # p-value below which inputs predict the labels better than chance


@run_rule(
    "A unit that is negative for every example gets no gradient, and stays so. A tenth "
    "or a fifth of a layer is common and does little harm.",
    "Lower the learning rate, initialize with `Kaiming` and biases of 0, scale the "
    "inputs, or use LeakyReLU.",
)
def dead_relu(log: TrainingLog) -> Iterator[Found]:
    """ReLU units that are zero for every example of the probe."""
    for layer in log.layers:
        units, dead = log.last(layer, "units"), log.last(layer, "dead_units")
        if units and dead is not None and dead / units > SOME_DEAD:
            since = "from the start" if _dead_at_start(log, layer) else "in training"
            evidence = f"{dead:.0f} of {units:.0f} units are dead, {since}"
            yield layer, evidence, "finding" if dead / units > MANY_DEAD else "note"


def _dead_at_start(log: TrainingLog, layer: str) -> bool:
    units, dead = log.first(layer, "units"), log.first(layer, "dead_units")
    return bool(units) and dead is not None and dead / units > SOME_DEAD


@run_rule(
    "Its slope is close to zero there, so that little gradient passes (Glorot and "
    "Bengio 2010).",
    "Use ReLU or a variant of it; or initialize with smaller weights, as `Xavier` "
    "does, and scale the inputs.",
)
def saturation(log: TrainingLog) -> Iterator[Found]:
    """Hidden sigmoids and tanhs that are mostly saturated."""
    for layer in log.layers:
        share = log.last(layer, "saturated_fraction")
        if share is not None and share > SATURATED and not log.last(layer, "is_output"):
            yield layer, f"{share:.0%} of its outputs are saturated"


def _gradients(log: TrainingLog) -> dict[str, float]:
    """Median ratio of gradient norm to weight norm, by layer with a kernel."""
    found = {}
    for layer in log.kernels():
        norm, weight = (
            log.series(layer, each) for each in ("gradient_norm", "weight_norm")
        )
        there = np.isfinite(norm) & (weight > 0)
        if there.any():
            found[layer] = float(np.median(norm[there] / weight[there]))
    return found


@run_rule(
    "The first layers then hardly learn (Glorot and Bengio 2010).",
    "Choose an initializer that suits the activation, use ReLU, add BatchNormalization "
    "or residual connections.",
)
def vanishing_gradient(log: TrainingLog) -> Iterator[Found]:
    """Gradients that shrink from the last layer to the first."""
    found = _gradients(log)
    if len(found) > 1:
        (first, low), *_, (last, high) = found.items()
        if high > SPREAD * low:
            yield (
                first,
                f"its gradient is {low:.1g} of its weights, {last}'s {high:.1g}",
            )


@run_rule(
    "Steps are then too large for the first layers, or too small for the last.",
    "Choose an initializer that suits the activation, clip the gradient's norm, or add "
    "BatchNormalization.",
)
def exploding_gradient(log: TrainingLog) -> Iterator[Found]:
    """Gradients that grow from the last layer to the first."""
    found = _gradients(log)
    if len(found) > 1:
        (first, high), *_, (last, low) = found.items()
        if high > SPREAD * low > 0:
            yield (
                first,
                f"its gradient is {high:.1g} of its weights, {last}'s {low:.1g}",
            )


@run_rule(
    "An update of about a thousandth of the weights is common; far larger updates "
    "overwrite what was learned.",
    "Divide the learning rate by 10.",
)
def rate_too_large(log: TrainingLog) -> Iterator[Found]:
    """Updates that are large relative to the weights."""
    ratio, highest = log.typical("update_ratio"), log.highest("update_ratio")
    shaken = log.curves and log.curves.condition in ("unstable", "diverged")
    if highest > HUGE:  # dead units do not move any more
        yield "", f"an update was {highest:.2g} of the weights"
    elif ratio > LARGE or (shaken and ratio > LARGE / 5):
        yield "", f"a typical update is {ratio:.1g} of the weights"


@run_rule(
    "An update of about a thousandth of the weights is common; with far smaller "
    "updates training takes far too long.",
    "Multiply the learning rate by 10, or find one with `find_learning_rate`.",
)
def rate_too_small(log: TrainingLog) -> Iterator[Found]:
    """Updates that are tiny relative to the weights."""
    ratio = log.typical("update_ratio")
    learned = log.curves and log.curves.condition in ("fits", "plateaued", "overfits")
    if ratio < SMALL and not learned:
        yield "", f"a typical update is {ratio:.1g} of the weights"


@run_rule(
    "It is frozen while layers before it are trained, which is rarely intended.",
    "Set `layer.trainable = True` before `compile`, or freeze all layers before it "
    "too.",
)
def frozen_in_between(log: TrainingLog) -> Iterator[Found]:
    """A frozen layer after a trainable one."""
    learning = False
    for layer in log.layers:
        trainable = log.last(layer, "trainable")
        if trainable == 0 and learning and not log.is_norm(layer):
            yield layer, "it is frozen, layers before it are trained"
        learning = learning or (trainable == 1 and not log.is_norm(layer))


@run_rule(
    "The layer then behaves differently in inference (Wu and Johnson 2021).",
    "Train with larger batches, for more steps or with a smaller `momentum`; or "
    "compute exact statistics with `recalibrate_batchnorm`.",
)
def batchnorm_mismatch(log: TrainingLog) -> Iterator[Found]:
    """Running statistics that differ from those of the data."""
    worst, found = 1.0, None
    for layer in log.layers:
        ratio, gap = (
            log.last(layer, f"running_{each}")
            for each in ("variance_ratio", "mean_gap")
        )
        if ratio is None or not ratio > 0:
            continue
        off = max(ratio / OFF, 1 / (ratio * OFF), gap / SHIFTED)
        if off > worst:
            worst, found = off, (layer, ratio, gap)
    if found:
        layer, ratio, gap = found
        evidence = (
            f"its running variance is {ratio:.2f} of the exact one, its running mean "
            f"{gap:.2f} standard deviations off"
        )
        yield layer, evidence


@run_rule(
    "The model can then only memorize.",
    "Look at examples with their labels; match them by name, and shuffle both alike.",
)
def shuffled_labels(log: TrainingLog) -> Iterator[Found]:
    """Labels that neither the model nor nearest neighbours predict from the inputs."""
    if log.curves is None or log.data is None or "val_loss" not in log.history:
        return
    watched = [float(v) for v in log.history["val_loss"] if v is not None]
    start = log.baseline or log.history["loss"][0]
    if not watched or np.nanmin(watched) < 0.95 * start:
        return
    p, right, count = _neighbours(*log.data)
    if p > KNOWN:
        evidence = (
            "the validation loss was never below that of a constant prediction, and "
            f"nearest neighbours predict {right} of {count} labels, no better than "
            f"chance (p = {p:.2g})"
        )
        yield "", evidence


def _neighbours(x: Any, y: Any) -> tuple[float, int, int]:
    """Tests nearest neighbours against always predicting the largest class.

    Returns:
        `(p_value, correct, count)`.
    """
    import keras
    from scipy.stats import binomtest
    from sklearn.model_selection import cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    x, y = (np.asarray(keras.tree.flatten(each)[0]) for each in (x, y))
    y = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)
    place = np.random.default_rng(0).permutation(len(x))[:1000]
    x, y = x[place].reshape(len(place), -1), y[place]
    _, y, counts = np.unique(y, return_inverse=True, return_counts=True)
    if not 1 < len(counts) <= len(y) / 5:  # not classes
        return 0.0, 0, len(y)
    told = cross_val_predict(KNeighborsClassifier(), x, y, cv=5)
    right, most = int((told == y).sum()), counts.max() / len(y)
    return binomtest(right, len(y), most, alternative="greater").pvalue, right, len(y)


def _verdict_rule(name: str) -> Callable[[TrainingLog], Iterator[Found]]:
    """A rule that reports a verdict on the curves."""

    def found(log: TrainingLog) -> Iterator[Found]:
        if log.curves and log.curves.condition == name:
            sure = log.curves.confidence >= SURE
            yield "", "; ".join(log.curves.evidence), "finding" if sure else "note"

    found.__name__ = name.replace(" ", "_")
    return found


for name, why in {
    "diverged": "The loss is not finite, or above that of a constant prediction.",
    "unstable": "The loss goes up and down: steps are too large, or batches too small.",
    "always overfits": "What is learned does not generalize beyond the training set.",
    "overfits": "From that epoch on, what is learned does not generalize.",
    "underfits": "The training loss stays high.",
}.items():
    run_rule(why, ACTIONS[name][0])(_verdict_rule(name))
