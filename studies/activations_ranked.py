"""Whether ReLU beats its variants, they tanh, and tanh sigmoid.

Claim:   as a rule ReLU > its variants > tanh > sigmoid.
Source:  Glorot et al., "Deep Sparse Rectifier Neural Networks", AISTATS 2011; Clevert
         et al., arXiv 1511.07289; the study notes (docs/site/notes.toml), section
         "activations in practice".
Data:    scikit-learn's digits, 700 to train on, 300 to choose on, 500 to test; one or
         six hidden layers of 64; Adam, 15 epochs in batches of 50. Kernels by Kaiming
         for ReLU and its variants, by Xavier for tanh and sigmoid. Each cell trains at
         1e-3, 3e-3, 1e-2 and 3e-2, and takes the rate with the best accuracy on the
         part to choose on.
Rule:    by test accuracy, six signs: at either depth ReLU beats the mean of leaky ReLU,
         PReLU and ELU, that mean beats tanh, and tanh beats sigmoid, p < 0.05 each.
         Holds, if all; partly, if some; not here, if none.
Change:  plain SGD and many layers, against sigmoid; kernels of its own scale or a
         normalisation layer, for it: the arm of four times Xavier's is a look.
Command: python studies/activations_ranked.py
Writes:  docs/studies/activations_ranked.json and .png
"""

import functools
import itertools

import numpy as np
from dead_relus import PReLU
from harness import Study, by_signs, summarise
from mlp import MLP, digits, train
from optimizers import adam
from pictures import COLOURS, dots, panels, plain_log

COUNT, TO_CHOOSE, EPOCHS, BATCH = 700, 300, 15, 50
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
DEPTHS = {"one hidden layer": 1, "six hidden layers": 6}
VARIANTS = ("leaky ReLU", "PReLU", "ELU")
GAINS = {"tanh": 1.0, "sigmoid": 1.0, "sigmoid, 4 × Xavier": 4.0}
KINDS = {
    "ReLU": "relu",
    "leaky ReLU": "leaky",
    "PReLU": "prelu",
    "ELU": "elu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "sigmoid, 4 × Xavier": "sigmoid",
}


def build(kind, depth, rng):
    """A net that was just drawn. Between equal layers, a gain of 1 is Xavier's."""
    sizes = (64, *[64] * depth, 10)
    if kind == "PReLU":
        return PReLU(sizes, rng)
    return MLP(sizes, KINDS[kind], rng, gain=GAINS.get(kind, 2**0.5))


def arm(kind, depth, seed):
    """Test accuracy in %; the rate that was chosen."""
    x, y, test_x, test_y = digits(seed, train=COUNT + TO_CHOOSE)
    found = {}
    for rate in RATES:
        rng = np.random.default_rng(seed)
        net = build(kind, depth, rng)
        train(net, x[:COUNT], y[:COUNT], adam(), rate, EPOCHS, rng, batch=BATCH)
        chosen_by = net.accuracy(x[COUNT:], y[COUNT:])
        found[rate] = chosen_by, net.accuracy(test_x, test_y)
    best = max(RATES, key=lambda rate: found[rate][0])
    return found[best][1], {"rate": best}


def name(kind, depth):
    """Of an arm."""
    return f"{depth}: {kind}"


def decide(arms):
    """The rule of the header."""
    signs, told = [], []
    for depth in DEPTHS:
        values = {kind: arms[name(kind, depth)]["values"] for kind in KINDS}
        values["the variants"] = np.mean([values[kind] for kind in VARIANTS], axis=0)
        order = ("ReLU", "the variants", "tanh", "sigmoid")
        steps = []
        for higher, lower in itertools.pairwise(order):
            row = summarise(values[higher], values[lower])
            by, p = row.get("difference", 0.0), row.get("p", 1.0)
            signs.append(by > 0 and p < 0.05)
            steps.append(f"{higher} over {lower} {by:+.1f} points (p = {p:.2g})")
        told.append(f"With {depth}, {', '.join(steps)}.")
    scaled = arms[name("sigmoid, 4 × Xavier", "six hidden layers")]["mean"]
    return by_signs(signs), (
        f"{' '.join(told)} Sigmoid with six layers and kernels of four times Xavier's "
        f"scale reaches {scaled:.1f} %."
    )


def picture(result):
    """The test error by activation, a panel a depth."""
    figure, axes = panels(2, width=4.8, height=4, sharey=True)
    for panel, depth in zip(axes, DEPTHS, strict=True):
        for place, kind in enumerate(KINDS):
            values = result["arms"][name(kind, depth)]["values"]
            dots(panel, place, np.subtract(100, values), COLOURS[place])
        panel.set_xticks(range(len(KINDS)), KINDS, rotation=35, ha="right")
        panel.set_title(f"{depth}, {len(result['seeds'])} seeds, mean ± sd", size=10)
    plain_log(axes[0].yaxis, (2, 3, 5, 10, 20, 50))
    axes[0].set_ylabel("Test error (%)")
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(kind, depth): functools.partial(arm, kind, layers)
        for depth, layers in DEPTHS.items()
        for kind in KINDS
    },
    baseline=name("ReLU", "one hidden layer"),
    measure="Test accuracy on digits (%)",
    decide=decide,
    seeds=tuple(range(10)),
    setting=f"{COUNT} digits to train on, hidden layers of 64, Adam, {EPOCHS} epochs",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
