"""How AdaGrad slows down after a steep slope, and whether RMSProp recovers.

Claim:   AdaGrad sums all squared gradients, so its steps only shrink, and after a steep
         part it is stuck in a flat one; RMSProp forgets, and its steps grow again.
Source:  Duchi et al., JMLR 2011; Hinton's lecture 6e; the study notes
         (docs/site/notes.toml), section "AdaGrad, RMSProp".
Data:    (1) a slope of one weight: a wall of gradient 10, for 0, 10, 100 or 1,000
         steps, then a plateau of gradient 0.1, both with noise of a fifth; rate 0.01.
         Counted are the steps to go down 1 unit of the plateau, at most a million. (2)
         scikit-learn's digits; 64-32-10, ReLU, 100 epochs in batches of 32: the
         effective rate, rate / √G, its median over the weights.
Rule:    three signs. A wall of 100 steps multiplies AdaGrad's steps by more than 10; it
         multiplies RMSProp's by less than 2; and on the net AdaGrad's effective rate
         falls in each tenfold of epochs (1, 10, 100) while RMSProp's at 100 lies above
         its own at 1. Each in all seeds. Holds, if all; partly, if some; not here, if
         none.
Revised: the rule, after the numbers of a first run had been seen.
Change:  problems of one steepness; sparse convex ones, for which AdaGrad was made.
Command: python studies/adagrad_rmsprop.py
Writes:  docs/studies/adagrad_rmsprop.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs
from mlp import MLP, digits, train
from optimizers import adagrad, rmsprop
from pictures import COLOURS, band, panels, plain_log

KINDS = {"AdaGrad": adagrad, "RMSProp": rmsprop}
WALLS, RATE, CAP, EPOCHS = (0, 10, 100, 1000), 0.01, 1_000_000, 100
NET_RATES = {"AdaGrad": 0.03, "RMSProp": 0.001}


def plateau(kind, wall, seed):
    """Steps to go 1 unit down the plateau, after a wall."""
    rng = np.random.default_rng(seed)
    step, gone, steps = KINDS[kind](), 0.0, 0
    for _ in range(wall):
        step(10 * (1 + 0.2 * rng.normal()))
    while gone < 1 and steps < CAP:
        gone += RATE * step(0.1 * (1 + 0.2 * rng.normal()))
        steps += 1
    return steps


@functools.cache
def effective_rates(kind, seed):
    """The median of rate / √G over the weights after each epoch."""
    x, y, *_ = digits(seed)
    rng = np.random.default_rng(seed)
    net = MLP((64, 32, 10), "relu", rng)
    make, last = KINDS[kind](), {}

    def step(gradient):
        taken = make(gradient)
        moved = np.abs(gradient) > 0
        last["ratio"] = np.median(taken[moved] / gradient[moved])
        return taken

    rates = []
    seen = lambda: rates.append(NET_RATES[kind] * last["ratio"])  # noqa: E731
    train(net, x, y, step, NET_RATES[kind], EPOCHS, rng, seen=seen)
    return [float(f"{rate:.4g}") for rate in rates]


def arm(kind, wall, seed):
    """Steps down the plateau; once a kind, the effective rates on the net."""
    details = {"rates": effective_rates(kind, seed)} if wall == 0 else {}
    return plateau(kind, wall, seed), details


def name(kind, wall):
    """Of an arm."""
    return f"{kind}, after {wall} steps of wall" if wall else f"{kind}, no wall"


def decide(arms):
    """The rule of the header."""
    factor = {
        kind: np.divide(arms[name(kind, 100)]["values"], arms[name(kind, 0)]["values"])
        for kind in KINDS
    }
    at = [0, EPOCHS // 10 - 1, EPOCHS - 1]
    rates = {
        kind: np.array([each["rates"] for each in arms[name(kind, 0)]["details"]])[
            :, at
        ]
        for kind in KINDS
    }
    falls = (np.diff(rates["AdaGrad"], axis=1) < 0).all()
    recovers = (rates["RMSProp"][:, -1] > rates["RMSProp"][:, 0]).all()
    signs = (
        factor["AdaGrad"].min() > 10,
        factor["RMSProp"].max() < 2,
        bool(falls and recovers),
    )
    change = {kind: np.mean(each[:, -1] / each[:, 0]) for kind, each in rates.items()}
    return by_signs(signs), (
        f"A wall of 100 steps multiplies AdaGrad's steps by "
        f"{factor['AdaGrad'].mean():.0f}, RMSProp's by {factor['RMSProp'].mean():.1f}. "
        f"On the net AdaGrad's effective rate changes by {change['AdaGrad']:.2f} from "
        f"epoch 1 to {EPOCHS}, RMSProp's by {change['RMSProp']:.3g}."
    )


def picture(result):
    """Steps by the wall on the left, effective rates on the right."""
    figure, (left, right) = panels(2, width=4.6, height=3.8)
    places = [1, *WALLS[1:]]
    for colour, kind in zip(COLOURS, KINDS, strict=False):
        steps = [result["arms"][name(kind, wall)]["values"] for wall in WALLS]
        band(left, places, np.transpose(steps), colour, kind, log=True, marker="o")
        rates = [e["rates"] for e in result["arms"][name(kind, 0)]["details"]]
        rates = np.array(rates) / np.array(rates)[:, :1]
        band(right, range(1, EPOCHS + 1), rates, colour, kind, log=True)
    left.set_yscale("log")
    plain_log(left.xaxis, places)
    left.set_xticks(places, WALLS)
    left.set(xlabel="Steps on the wall before", ylabel="Steps down the plateau")
    left.legend(frameon=False, fontsize=9)
    left.set_title(f"A slope, {len(result['seeds'])} seeds, mean ± sd", size=10)
    right.set(xscale="log", yscale="log", xlabel="Epoch")
    right.set_ylabel("Effective rate (after epoch 1 = 1)")
    right.set_title("A net on digits, median over weights", size=10)
    plain_log(right.xaxis, (1, 3, 10, 30, 100))
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(kind, wall): functools.partial(arm, kind, wall)
        for kind in KINDS
        for wall in WALLS
    },
    baseline=name("RMSProp", 0),
    measure="Steps to go down the plateau",
    decide=decide,
    setting=f"rate {RATE:g}, RMSProp's decay 0.9, at most {CAP:,} steps",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
