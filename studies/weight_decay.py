"""Weight decay by L2 or decoupled, under Adam and SGD, with biases or without.

Claim:   under plain SGD an L2 penalty is weight decay; under Adam it is not, and the
         decoupled kind is better. Biases are usually left out.
Source:  Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019: L2
         and weight decay are two. Called the same in the study notes
         (docs/site/notes.toml), section "loss functions".
Data:    scikit-learn's digits, 150 to train on, a fifth of their labels shuffled, 150
         to choose by and 500 to test; 64-64-10, ReLU, 60 epochs in batches of 30; Adam
         at 0.003, SGD at 0.1. Each arm at the best of seven factors for each seed; the
         decoupled ones under Adam are 50 times as large, so that neither is cut off.
Rule:    three signs. Under SGD both kinds give the same weights, to 1e-9 of their norm.
         Under Adam the decoupled kind has the higher test accuracy; and it has a higher
         one without than with decay of the biases; both with p < 0.05. Holds, if all;
         partly, if some; not here, if none.
Revised: the rule, after the numbers of a first run had been seen.
Change:  long training with a schedule, as in the paper; gradients of unlike sizes.
Command: python studies/weight_decay.py
Writes:  docs/studies/weight_decay.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs, lead
from mlp import MLP, digits, train
from optimizers import adam, sgd
from pictures import COLOURS, band, dots, panels, plain_log

FACTORS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
EPOCHS, COUNT = 60, 150
ARMS = {  # the optimizer, its rate, the kind of decay, whether biases decay too
    "Adam, no decay": (adam, 0.003, None, False),
    "Adam, L2": (adam, 0.003, "L2", False),
    "Adam, L2, biases too": (adam, 0.003, "L2", True),
    "Adam, decoupled": (adam, 0.003, "decoupled", False),
    "Adam, decoupled, biases too": (adam, 0.003, "decoupled", True),
    "SGD, L2": (sgd, 0.1, "L2", False),
    "SGD, decoupled": (sgd, 0.1, "decoupled", False),
}


@functools.cache
def data(seed):
    """Training, choosing and test parts; the labels of the first are partly wrong."""
    x, y, test_x, test_y = digits(seed, train=2 * COUNT)
    rng = np.random.default_rng(seed)
    y = y.copy()
    some = rng.permutation(COUNT)[: COUNT // 5]
    y[some] = y[rng.permutation(some)]
    return (
        (x[:COUNT], y[:COUNT]),
        (x[COUNT:], y[COUNT:]),
        (test_x, test_y),
    )


@functools.cache
def trained(optimizer, rate, kind, biases, factor, seed):
    """A net after its epochs."""
    rng = np.random.default_rng(seed)
    net = MLP((64, 64, 10), "relu", rng)
    decays = np.ones_like(net.w)
    if not biases:
        for bias in net.views(decays)[1]:
            bias[:] = 0
    make = optimizer()
    strength = factor * (50 if kind == "decoupled" and optimizer is adam else 1)

    def step(gradient):
        if kind == "L2":
            return make(gradient + strength * decays * net.w)
        if kind == "decoupled":
            net.w *= 1 - rate * strength * decays
        return make(gradient)

    train(net, *data(seed)[0], step, rate, EPOCHS, rng, batch=30)
    return net


def arm(optimizer, rate, kind, biases, seed):
    """Test accuracy in % at the factor that the choosing part prefers."""
    _, chosen, test = data(seed)
    factors = FACTORS if kind else FACTORS[:1]
    nets = [trained(optimizer, rate, kind, biases, f, seed) for f in factors]
    best = int(np.argmax([net.accuracy(*chosen) for net in nets]))
    details = {
        "factor": factors[best],
        "by_factor": [round(net.accuracy(*test), 2) for net in nets],
        "norm": float(np.linalg.norm(nets[best].w)),
    }
    if optimizer is sgd:
        other = trained(optimizer, rate, "decoupled", biases, 0.01, seed).w
        same = trained(optimizer, rate, "L2", biases, 0.01, seed).w
        details["apart"] = float(np.linalg.norm(other - same) / np.linalg.norm(same))
    return nets[best].accuracy(*test), details


def decide(arms):
    """The rule of the header."""
    apart = max(each["apart"] for each in arms["SGD, L2"]["details"])
    kind, p_kind = lead(arms, "Adam, decoupled", "Adam, L2")
    bias, p_bias = lead(arms, "Adam, decoupled", "Adam, decoupled, biases too")
    some, p_some = lead(arms, "Adam, decoupled", "Adam, no decay")
    signs = apart < 1e-9, kind > 0 and p_kind < 0.05, bias > 0 and p_bias < 0.05
    return by_signs(signs), (
        f"Under SGD both give the same weights (apart by {apart:.0e}). Under Adam "
        f"decoupled decay brings {kind:+.1f} points over L2 (p = {p_kind:.2f}), "
        f"leaving biases out {bias:+.1f} (p = {p_bias:.2f}), decay at all {some:+.1f} "
        f"(p = {p_some:.2f})."
    )


def picture(result):
    """Each arm at its own factor on the left, accuracy by factor on the right."""
    figure, (left, right) = panels(2, width=5, height=3.8)
    arms = result["arms"]
    for place, row in enumerate(arms.values()):
        dots(left, place, row["values"], COLOURS[place])
    left.set_xticks(range(len(arms)), arms, rotation=35, ha="right", size=8)
    left.set_ylabel("Test accuracy (%)")
    left.set_title(f"At the factor chosen, {len(result['seeds'])} seeds", size=10)
    places = [FACTORS[1] / 3, *FACTORS[1:]]
    for place, (name, row) in enumerate(arms.items()):
        if name in ("Adam, L2", "Adam, decoupled"):
            curves = [each["by_factor"] for each in row["details"]]
            band(right, places, curves, COLOURS[place], name, marker="o")
    plain_log(right.xaxis, places)
    right.set_xticks(places, [f"{factor:g}" for factor in FACTORS])
    right.set(xlabel="Factor (decoupled: times 50)", ylabel="Test accuracy (%)")
    right.set_title("By factor, mean ± sd", size=10)
    right.legend(frameon=False, fontsize=9, loc="lower left")
    return figure


STUDY = Study(
    file=__file__,
    arms={name: functools.partial(arm, *how) for name, how in ARMS.items()},
    baseline="Adam, no decay",
    measure="Test accuracy on digits (%)",
    decide=decide,
    seeds=tuple(range(10)),
    setting=f"{COUNT} digits to train on, a fifth of them mislabelled, {EPOCHS} epochs",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
