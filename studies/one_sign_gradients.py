"""Whether inputs that are all positive bind the signs of a unit's weight gradients.

Claim:   after activations that are all positive, the gradients of a unit's weights have
         one sign, and its path to the optimum is a zig-zag, which takes longer.
Source:  Stanford's CS231n, notes on activation functions; the study notes
         (docs/site/notes.toml), section "sigmoid, tanh".
Data:    (1) scikit-learn's digits through two hidden layers of 64 units, just drawn:
         for each unit of the second, the share of its weights' gradients that have the
         sign of most. (2) A linear unit of two inputs without noise, trained one
         example at a time, or on all 256 at once; its inputs lie in [0, 1], or are
         centred. It starts where the notes start it: up left of the optimum, at a
         distance of 1. Each arm at its own best rate of ten.
Rule:    three signs, each with p < 0.05. In a batch of 32 the gradients behind a
         sigmoid agree by at least 25 points more than behind a tanh (for one example
         it is algebra). One by one, positive inputs need more steps than centred ones
         to come within 5 % of the distance. And their path is longer. Holds, if all
         three; partly, if some.
Change:  larger batches, in which signs mix; normalisation layers, that centre again.
Command: python studies/one_sign_gradients.py
Writes:  docs/studies/one_sign_gradients.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs, lead, summarise
from mlp import MLP, digits
from pictures import COLOURS, band, panels

RATES = np.geomspace(0.03, 15, 10)
STEPS, NEAR = 3000, 0.05
BATCHES = (1, 4, 16, 32, 128, 512)
POSITIVE, CENTRED = "inputs in [0, 1], one by one", "centred inputs, one by one"
ARMS = {  # the least input, examples in a batch
    CENTRED: (-0.5, 1),
    POSITIVE: (0.0, 1),
    "centred inputs, all at once": (-0.5, 256),
    "inputs in [0, 1], all at once": (0.0, 256),
}
TARGET = np.array([1.0, -1.0]) / 2**0.5


def walk(low, batch, rate, seed):
    """The path of the two weights from 0 to `TARGET`, until it is near."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(low, low + 1, (256, 2))
    w = np.zeros(2)
    path = [w]
    while len(path) <= STEPS and NEAR < np.linalg.norm(w - TARGET) < 10:
        some = x if batch == len(x) else x[rng.integers(len(x), size=batch)]
        w = w - rate * some.T @ (some @ (w - TARGET)) / batch
        path.append(w)
    return np.array(path)


def steps(path):
    """How many it took; `STEPS`, if it never came near."""
    near = np.linalg.norm(path[-1] - TARGET) <= NEAR
    return len(path) - 1 if near else STEPS


def best_walk(low, batch, seed):
    """The rate at which other seeds need the fewest steps, and the path with it."""
    others = range(1000, 1010)
    means = [np.mean([steps(walk(low, batch, r, s)) for s in others]) for r in RATES]
    return walk(low, batch, RATES[int(np.argmin(means))], seed)


def arm(low, batch, seed):
    """Steps that it took; the length of the path in units of the distance."""
    path = best_walk(low, batch, seed)
    length = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
    details = {"length": round(float(length), 3)}
    if (low, batch) == ARMS[CENTRED]:  # once a seed is enough
        details |= {name: agreement(name, seed) for name in ("sigmoid", "relu", "tanh")}
    return steps(path), details


def agreement(activation, seed):
    """Mean share of a unit's weight gradients with the sign of most, by batch, in %."""
    x, y, *_ = digits(seed)
    net = MLP((64, 64, 64, 10), activation, np.random.default_rng(seed))
    shares = []
    for batch in BATCHES:
        found = []
        for i in range(0, min(32 * batch, 512), batch):
            _, gradient = net.gradient(x[i : i + batch], y[i : i + batch])
            kernel = net.views(gradient)[0][1]
            up, down = (kernel > 0).sum(axis=0), (kernel < 0).sum(axis=0)
            moved = up + down > 0  # a ReLU that was off has no gradient
            found.append(np.mean((np.maximum(up, down) / (up + down))[moved]))
        shares.append(round(100 * float(np.mean(found)), 2))
    return shares


def decide(arms):
    """The rule of the header."""
    seen = arms[CENTRED]["details"]
    at = BATCHES.index(32)
    sigmoid, tanh = ([each[name][at] for each in seen] for name in ("sigmoid", "tanh"))
    agree = summarise(sigmoid, tanh)
    lengths = [[each["length"] for each in arms[a]["details"]] for a in ARMS]
    longer = summarise(lengths[1], lengths[0])
    more, p = lead(arms, POSITIVE, CENTRED)
    signs = (
        agree["difference"] >= 25 and agree["p"] < 0.05,
        more > 0 and p < 0.05,
        longer["difference"] > 0 and longer["p"] < 0.05,
    )
    return by_signs(signs), (
        f"In a batch of 32 the signs agree to {agree['mean']:.0f} % behind a sigmoid, "
        f"to {np.mean(tanh):.0f} % behind a tanh. One by one, positive inputs need "
        f"{arms[POSITIVE]['mean']:.0f} steps where centred ones need "
        f"{arms[CENTRED]['mean']:.0f}, on a path {longer['mean']:.1f} times the "
        f"straight one against {np.mean(lengths[0]):.1f}."
    )


def picture(result):
    """Paths on the left, agreement of signs by batch on the right."""
    figure, (left, right) = panels(2, width=4.8, height=4.2)
    for name, colour in ((CENTRED, COLOURS[0]), (POSITIVE, COLOURS[1])):
        for seed in result["seeds"][:3]:
            path = best_walk(*ARMS[name], seed)
            style = {"alpha": 1.0 if seed == 0 else 0.35, "lw": 1.2}
            label = name if seed == 0 else None
            left.plot(*path.T, ".-", color=colour, ms=4, label=label, **style)
    left.plot(*TARGET, "k*", ms=12, label="optimum")
    left.set(xlabel="First weight", ylabel="Second weight")
    left.set_title("Paths at the best rate, 3 seeds\n\n", size=10)
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": 3}
    left.legend(frameon=False, fontsize=8, columnspacing=1, **place)
    for name, colour in zip(("sigmoid", "relu", "tanh"), COLOURS[1:], strict=False):
        shares = [each[name] for each in result["arms"][CENTRED]["details"]]
        band(right, BATCHES, shares, colour, name, marker="o")
    right.set_xscale("log", base=2)
    right.set_xticks(BATCHES, BATCHES)
    right.set(xlabel="Examples in a batch", ylabel="Weights that agree in sign (%)")
    right.set_title(f"Behind each, {len(result['seeds'])} seeds, mean ± sd", size=10)
    right.legend(frameon=False, fontsize=9)
    return figure


STUDY = Study(
    file=__file__,
    arms={name: functools.partial(arm, *how) for name, how in ARMS.items()},
    baseline=CENTRED,
    measure="Steps until within 5 % of the distance",
    decide=decide,
    seeds=tuple(range(10)),
    setting="a linear unit of two inputs, no noise, the best of ten rates",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
