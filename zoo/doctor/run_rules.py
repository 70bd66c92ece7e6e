"""Rules on a training: its curves, and what `TrainingMonitor` measured."""

import functools

import numpy as np

from hornbook.recipes.diagnosis.verdict import ACTIONS
from hornbook.zoo.doctor.finding import RUN_RULES, rule

run_rule = functools.partial(rule, rules=RUN_RULES)

SOME_DEAD, MANY_DEAD = 0.15, 0.4  # of a layer's units: below, it is usual
SATURATED = 0.5  # of a layer's outputs
LARGE, HUGE, SMALL = 0.05, 0.3, 1e-5  # update over weight: typical, ever, typical
SPREAD = 1e3  # that gradients may differ by from layer to layer
OFF, SHIFTED = 1.6, 0.6  # quotient of variances, distance of means in deviations
SURE = 0.6  # confidence of a verdict from which it is a finding
KNOWN = 1e-4  # p-value from which labels are told from the inputs: no luck


@run_rule(
    "A unit on the negative side for every example gets no gradient, and stays there. "
    "A tenth or a fifth of a layer is usual and does little harm.",
    "Lower the learning rate, draw kernels by `Kaiming` with biases of 0, scale the "
    "inputs; or use LeakyReLU.",
)
def dead_relu(run):
    """Units of a ReLU that no example of the probe wakes."""
    for layer in run.layers:
        units, dead = run.last(layer, "units"), run.last(layer, "dead_units")
        if units and dead is not None and dead / units > SOME_DEAD:
            since = "from the start" if _dead_at_start(run, layer) else "in training"
            evidence = f"{dead:.0f} of {units:.0f} units are dead, {since}"
            yield layer, evidence, "finding" if dead / units > MANY_DEAD else "note"


def _dead_at_start(run, layer):
    units, dead = run.first(layer, "units"), run.first(layer, "dead_units")
    return bool(units) and dead is not None and dead / units > SOME_DEAD


@run_rule(
    "There its slope is next to nothing, so that little gradient passes (Glorot and "
    "Bengio 2010).",
    "Use ReLU or one of its kin; or draw smaller kernels, as `Xavier` does, and scale "
    "the inputs.",
)
def saturation(run):
    """Hidden sigmoids and tanhs whose outputs are mostly at their ends."""
    for layer in run.layers:
        share = run.last(layer, "saturated_fraction")
        if share is not None and share > SATURATED and not run.last(layer, "is_output"):
            yield layer, f"{share:.0%} of its outputs are saturated"


def _gradients(run):
    """Median of gradient over weight, by layer with a kernel."""
    found = {}
    for layer in run.kernels():
        norm, weight = (
            run.series(layer, each) for each in ("gradient_norm", "weight_norm")
        )
        there = np.isfinite(norm) & (weight > 0)
        if there.any():
            found[layer] = float(np.median(norm[there] / weight[there]))
    return found


@run_rule(
    "The first layers then hardly learn (Glorot and Bengio 2010).",
    "Choose the initializer for the activation, use ReLU, put in BatchNormalization "
    "or residual connections.",
)
def vanishing_gradient(run):
    """Gradients that shrink on their way from the last layer to the first."""
    found = _gradients(run)
    if len(found) > 1:
        (first, low), *_, (last, high) = found.items()
        if high > SPREAD * low:
            yield (
                first,
                f"its gradient is {low:.1g} of its weights, {last}'s {high:.1g}",
            )


@run_rule(
    "Steps then are too large for the first layers, or too small for the last.",
    "Choose the initializer for the activation, clip the gradient's norm, put in "
    "BatchNormalization.",
)
def exploding_gradient(run):
    """Gradients that grow on their way from the last layer to the first."""
    found = _gradients(run)
    if len(found) > 1:
        (first, high), *_, (last, low) = found.items()
        if high > SPREAD * low > 0:
            yield (
                first,
                f"its gradient is {high:.1g} of its weights, {last}'s {low:.1g}",
            )


@run_rule(
    "An update of about a thousandth of the weights is usual; far larger ones "
    "overwrite what was learned.",
    "Divide the learning rate by 10.",
)
def rate_too_large(run):
    """Updates that are not small against the weights."""
    ratio, highest = run.typical("update_ratio"), run.highest("update_ratio")
    shaken = run.curves and run.curves.condition in ("unstable", "diverged")
    if highest > HUGE:  # what died of it moves no more
        yield "", f"an update was {highest:.2g} of the weights"
    elif ratio > LARGE or (shaken and ratio > LARGE / 5):
        yield "", f"a typical update is {ratio:.1g} of the weights"


@run_rule(
    "An update of about a thousandth of the weights is usual; far smaller ones learn "
    "nothing in any number of steps that one would wait for.",
    "Multiply the learning rate by 10, or find one with `find_learning_rate`.",
)
def rate_too_small(run):
    """Updates that are next to nothing."""
    ratio = run.typical("update_ratio")
    learned = run.curves and run.curves.condition in ("fits", "plateaued", "overfits")
    if ratio < SMALL and not learned:
        yield "", f"a typical update is {ratio:.1g} of the weights"


@run_rule(
    "What comes before it learns, it does not: seldom meant, except for norms.",
    "Set `layer.trainable = True` before `compile`, or freeze all that comes before it "
    "too.",
)
def frozen_in_between(run):
    """A frozen layer behind one that learns."""
    learning = False
    for layer in run.layers:
        trainable = run.last(layer, "trainable")
        if trainable == 0 and learning and not run.is_norm(layer):
            yield layer, "it is frozen, layers before it are trained"
        learning = learning or (trainable == 1 and not run.is_norm(layer))


@run_rule(
    "In inference it then does something else than in training (Wu and Johnson 2021).",
    "Train with larger batches, or for more steps, or with a smaller `momentum`; or "
    "take exact statistics with `recalibrate_batchnorm`.",
)
def batchnorm_mismatch(run):
    """Running statistics that are not those of the data."""
    worst, found = 1.0, None
    for layer in run.layers:
        ratio, gap = (
            run.last(layer, f"running_{each}")
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
            f"{gap:.2f} deviations off"
        )
        yield layer, evidence


@run_rule(
    "What then is learned is learned by heart.",
    "Look at examples beside their labels; join the two by name, shuffle both alike.",
)
def shuffled_labels(run):
    """Labels that neither the run nor a nearest neighbour can tell from the inputs."""
    if run.curves is None or run.data is None or "val_loss" not in run.history:
        return
    watched = [float(v) for v in run.history["val_loss"] if v is not None]
    start = run.baseline or run.history["loss"][0]
    if not watched or np.nanmin(watched) < 0.95 * start:
        return
    p, right, count = _neighbours(*run.data)
    if p > KNOWN:
        evidence = (
            f"the validation loss was never below a guess's, and nearest neighbours "
            f"name {right} of {count} labels rightly, as luck does (p = {p:.2g})"
        )
        yield "", evidence


def _neighbours(x, y):
    """How well nearest neighbours tell labels, against naming the largest class."""
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


def _says(name):
    """A rule that takes over a verdict on the curves, with what it says to do first."""

    def found(run):
        if run.curves and run.curves.condition == name:
            sure = run.curves.confidence >= SURE
            yield "", "; ".join(run.curves.evidence), "finding" if sure else "note"

    found.__name__ = name.replace(" ", "_")
    return found


for name, why in {
    "diverged": "The loss is not finite, or above that of a guess.",
    "unstable": "The loss goes up and down: steps are too large, or batches too small.",
    "always overfits": "What is learned holds for the training set alone.",
    "overfits": "From that epoch on, what is learned holds for the training set alone.",
    "underfits": "The training loss stays high: it is not learned, or cannot be.",
}.items():
    run_rule(why, ACTIONS[name][0])(_says(name))
