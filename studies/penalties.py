"""What five penalties make of a net's weights: how many are zero, or nearly.

Claim:   L1 sets weights to zero, L2 does not; the elastic net lies between; group lasso
         empties whole units. The notes list smooth L1 as a kin of L1.
Source:  Zou and Hastie, 2005; Yuan and Lin, 2006; Girshick, "Fast R-CNN", ICCV 2015,
         where smooth L1 is a loss; the study notes (docs/site/notes.toml), section
         "loss functions".
Data:    scikit-learn's digits, 1,000 to train on, 300 to choose by, 497 to test;
         64-32-10, ReLU; the penalty on both kernels; Adam, 20 epochs in batches of 50,
         the rate decaying from 0.01 to 1e-5. Each penalty has the largest of five
         factors (two to a decade) that costs at most a point on the choosing part of
         another seed.
Rule:    near 0 is a weight below 1e-3. Five signs: no penalty by gradients gives an
         exact zero in any seed, where proximal steps (scikit-learn's SAGA, without a
         hidden layer) do; L1 has more weights near 0 than L2, and so has the elastic
         net, p < 0.05; smooth L1 has no more than twice those of L2; group lasso has
         more empty units than L1, p < 0.05. Holds, if all; partly, if some; not here,
         if none.
Change:  proximal steps, which set zeros; a threshold after training.
Command: python studies/penalties.py
Writes:  docs/studies/penalties.json and .png
"""

import functools

import keras
import numpy as np
from harness import Study, by_signs, is_quick, lead, summarise
from mlp import digits
from pictures import COLOURS, dots, panels
from sklearn.linear_model import LogisticRegression
from small_nets import in_one_go

from hornbook.recipes.regularizers.elastic_net import ElasticNet
from hornbook.recipes.regularizers.group_lasso import GroupLasso
from hornbook.recipes.regularizers.regularize import regularize
from hornbook.recipes.regularizers.smooth_l1 import SmoothL1

EPOCHS, BATCH, TRAIN, NEAR, OTHER = 20, 50, 1000, 1e-3, 100
FACTORS = 2 if is_quick() else 5
KINDS = {  # the penalty, and the least of its factors
    "none": (None, 0),
    "L2": (keras.regularizers.L2, 1e-4),
    "L1": (keras.regularizers.L1, 3e-5),
    "elastic net": (lambda factor: ElasticNet(factor, beta=1.0), 3e-5),
    "smooth L1": (SmoothL1, 1e-4),
    "group lasso": (GroupLasso, 1e-4),
}


@functools.cache
def data(seed):
    """Training, choosing and test parts."""
    x, y, test_x, test_y = digits(seed, train=TRAIN, test=797)
    return (x, y), (test_x[:300], test_y[:300]), (test_x[300:], test_y[300:])


def trained(kind, factor, seed):
    """A net trained under a penalty."""
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(32, "relu"), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((64,)), *layers])
    if factor:
        regularize(model, KINDS[kind][0](factor))
    steps = EPOCHS * TRAIN // BATCH
    rate = keras.optimizers.schedules.ExponentialDecay(0.01, steps, 1e-3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # To compile by XLA takes longer than to train.
    compiled = {"jit_compile": False, "steps_per_execution": TRAIN // BATCH}
    model.compile(keras.optimizers.Adam(rate), loss, **compiled)
    (x, y), *_ = data(seed)
    in_one_go(model, x, y, BATCH, EPOCHS, seed)
    return model


def accuracy(model, x, y):
    """In %."""
    return 100 * float(np.mean(model.predict(x, len(x), verbose=0).argmax(1) == y))


@functools.cache
def factor(kind):
    """The largest that costs at most a point."""
    least = KINDS[kind][1]
    chosen = data(OTHER)[1]
    plain, best = accuracy(trained("none", 0, OTHER), *chosen), least
    for step in range(FACTORS) if least else ():
        strength = least * 10 ** (step / 2)
        if accuracy(trained(kind, strength, OTHER), *chosen) >= plain - 1:
            best = strength
    return best


def arm(kind, seed):
    """Weights near 0 in %; exact zeros, empty units and the test accuracy."""
    model = trained(kind, factor(kind), seed)
    kernels = [layer.get_weights()[0] for layer in model.layers]
    weights = np.abs(np.concatenate([kernel.ravel() for kernel in kernels]))
    empty = np.abs(kernels[0]).max(axis=0) < 10 * NEAR
    details = {
        "exact": int(np.sum(weights == 0)),
        "units": 100 * float(empty.mean()),
        "accuracy": round(accuracy(model, *data(seed)[2]), 2),
        "factor": float(f"{factor(kind):.3g}"),
        "sizes": [float(f"{size:.3g}") for size in np.sort(weights)[::40]],
    }
    return 100 * float(np.mean(weights < NEAR)), details


def proximal_steps(seed):
    """The same of scikit-learn's softmax regression with L1, a net without a layer."""
    (x, y), _, test = data(seed)
    model = LogisticRegression(
        l1_ratio=1, C=0.1, solver="saga", max_iter=300, random_state=seed
    ).fit(x, y)
    weights = np.abs(model.coef_.ravel())
    details = {
        "exact": int(np.sum(weights == 0)),
        "units": 0.0,
        "accuracy": round(100 * float(model.score(*test)), 2),
        "factor": 0.1,
        "sizes": [float(f"{size:.3g}") for size in np.sort(weights)[::10]],
    }
    return 100 * float(np.mean(weights < NEAR)), details


def seen(arms, name, of):
    """A detail of an arm, by seed."""
    return [each[of] for each in arms[name]["details"]]


SOLVER = "L1, linear, by proximal steps"


def decide(arms):
    """The rule of the header."""
    exact = {name: max(seen(arms, name, "exact")) for name in KINDS}
    more = {name: lead(arms, name, "L2") for name in ("L1", "elastic net", "smooth L1")}
    units = summarise(seen(arms, "group lasso", "units"), seen(arms, "L1", "units"))
    signs = (
        max(exact.values()) == 0 and min(seen(arms, SOLVER, "exact")) > 0,
        more["L1"][0] > 0 and more["L1"][1] < 0.05,
        more["elastic net"][0] > 0 and more["elastic net"][1] < 0.05,
        arms["smooth L1"]["mean"] <= 2 * arms["L2"]["mean"],
        units.get("difference", 0) > 0 and units["p"] < 0.05,
    )
    told = "; ".join(
        f"{name} {row['mean']:.0f} % near 0, "
        f"{np.mean(seen(arms, name, 'units')):.0f} % of units empty, "
        f"{np.mean(seen(arms, name, 'accuracy')):.1f} % right"
        for name, row in arms.items()
        if name in KINDS
    )
    return by_signs(signs), (
        f"Exact zeros by gradient steps: {max(exact.values())} at most; proximal steps "
        f"set {np.mean(seen(arms, SOLVER, 'exact')) / 6.4:.0f} %. {told}."
    )


def picture(result):
    """The sizes of the weights in order, the share near 0, and the accuracy."""
    figure, (left, middle, right) = panels(3, width=4.1, height=3.9)
    arms = {name: result["arms"][name] for name in KINDS}
    for (name, row), colour in zip(arms.items(), COLOURS, strict=False):
        sizes = np.array([each["sizes"] for each in row["details"]])
        sizes = np.exp(np.mean(np.log(np.maximum(sizes, 1e-9)), axis=0))
        left.plot(np.linspace(0, 100, len(sizes)), sizes, color=colour, label=name)
    for place, ((name, row), colour) in enumerate(
        zip(arms.items(), COLOURS, strict=False)
    ):
        dots(middle, place, row["values"], colour)
        dots(right, place, seen(arms, name, "accuracy"), colour)
    left.axhline(NEAR, color="#595959", lw=1, ls=":")
    left.set(yscale="log", ylim=(1e-6, 3), xlabel="Weights, smallest first (%)")
    left.set_ylabel("Size of a weight (geometric mean over seeds)")
    left.legend(frameon=False, fontsize=8)
    for axes in (middle, right):
        axes.set_xticks(range(len(arms)), arms, rotation=35, ha="right")
        axes.set_title(f"{len(result['seeds'])} seeds, mean ± sd", size=10)
    middle.set_ylabel(f"Weights below {NEAR:g} (%)")
    right.set_ylabel("Test accuracy (%)")
    return figure


STUDY = Study(
    file=__file__,
    arms={kind: functools.partial(arm, kind) for kind in KINDS}
    | {SOLVER: proximal_steps},
    baseline="L2",
    measure=f"Weights below {NEAR:g} (%)",
    decide=decide,
    setting="digits, 64-32-10, the largest factor that costs at most a point",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
