"""Which nets stay symmetric when they start so, and what tells their units apart.

Claim:   a net whose weights all start alike stays symmetric under gradient descent, as
         if each layer had one unit. One broken symmetry anywhere, in the start, the
         optimizer or the net, ends that; so dropout does.
Source:  Goodfellow, Bengio and Courville, "Deep Learning", MIT Press 2016, section 8.4;
         the study notes (docs/site/notes.toml), sections "simple initializations" and
         "dropout".
Data:    scikit-learn's digits; 64-32-32-10, tanh; 60 epochs in batches of 32, SGD at
         0.1 or Adam at 0.003. Alike means 0.1 in each kernel.
Rule:    distinct is the share of the 64 hidden units that no other of their layer
         equals in its incoming weights, to a millionth of the largest. Six signs: all
         zero, all alike under SGD and all alike under Adam each keep below 5 % in all
         seeds; dropout, one random layer (the first, or the last) and noise of a
         thousandth of the weights each bring above 95 % in all seeds, and a better
         accuracy than alike under SGD, p < 0.05. Holds, if all; partly, if some.
Revised: the rule, after the numbers of a first run had been seen.
Change:  more epochs, for units that differ but little at the start.
Command: python studies/symmetry_trap.py
Writes:  docs/studies/symmetry_trap.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs, summarise
from mlp import MLP, digits, train
from optimizers import adam, sgd
from pictures import BLUE_TO_RED, panels

SIZES, EPOCHS, VALUE = (64, 32, 32, 10), 60, 0.1
RANDOM = "all random"
ZERO = "all zero"
ALIKE = "all alike, SGD"
ADAM = "all alike, Adam"
DROPOUT = "all alike, dropout"
NOISE = "all alike but for noise of a thousandth"
FIRST = "first kernel random, others alike"
LAST = "last kernel random, others alike"
HEAD = "last kernel zero, others random"
TRAPPED, FREED = (ZERO, ALIKE, ADAM), (DROPOUT, NOISE, FIRST, LAST)


def start(kind, rng):
    """A net as it starts."""
    net = MLP(SIZES, "tanh", rng, gain=1)
    drawn = [kernel.copy() for kernel in net.kernels]
    for kernel in net.kernels:
        kernel[:] = 0 if kind == ZERO else VALUE
    kept = {RANDOM: (0, 1, 2), FIRST: (0,), LAST: (2,), HEAD: (0, 1)}.get(kind, ())
    for layer in kept:
        net.kernels[layer][:] = drawn[layer]
    if kind == HEAD:
        net.kernels[2][:] = 0
    if kind == NOISE:
        net.w *= 1 + 1e-3 * rng.normal(size=len(net.w))
    return net


@functools.cache
def trained(kind, seed):
    """A net after its epochs."""
    x, y, *_ = digits(seed)
    rng = np.random.default_rng(seed)
    net = start(kind, rng)
    step, rate = (adam(), 0.003) if kind == ADAM else (sgd(), 0.1)
    drop = lambda rng, n: [2.0 * (rng.random((n, 32)) < 0.5) for _ in range(2)]  # noqa: E731
    masks = drop if kind == DROPOUT else None
    train(net, x, y, step, rate, EPOCHS, rng, masks=masks)
    return net


def distinct(kernel):
    """How many columns equal no other column."""
    gaps = np.abs(kernel[:, :, None] - kernel[:, None, :]).max(axis=0)
    gaps[np.diag_indices_from(gaps)] = np.inf
    return int(np.sum(gaps.min(axis=0) > 1e-6 * max(np.abs(kernel).max(), 1e-12)))


def arm(kind, seed):
    """Distinct hidden units in %; accuracy on test digits."""
    *_, x, y = digits(seed)
    net = trained(kind, seed)
    share = 100 * sum(distinct(kernel) for kernel in net.kernels[:-1]) / 64
    return share, {"accuracy": round(net.accuracy(x, y), 2)}


def accuracy(arms, kind):
    """Of an arm, by seed."""
    return [each["accuracy"] for each in arms[kind]["details"]]


def decide(arms):
    """The rule of the header."""
    signs = [max(arms[kind]["values"]) < 5 for kind in TRAPPED]
    for kind in FREED:
        row = summarise(accuracy(arms, kind), accuracy(arms, ALIKE))
        better = row.get("difference", 0) > 0 and row["p"] < 0.05
        signs.append(min(arms[kind]["values"]) > 95 and better)
    told = "; ".join(
        f"{kind}: {row['mean']:.0f} % distinct, {np.mean(accuracy(arms, kind)):.0f} % "
        "right"
        for kind, row in arms.items()
    )
    return by_signs(signs), f"After training, {told}."


def picture(result):
    """The first kernel after training: a row for each unit, a column for each pixel."""
    shown = (RANDOM, ALIKE, ADAM, DROPOUT, NOISE, LAST)
    figure, grid = panels(3, rows=2, width=3.2, height=2.6)
    for axes, kind in zip(grid, shown, strict=True):
        kernel = trained(kind, 0).kernels[0].T
        top = np.abs(kernel).max()
        axes.imshow(kernel, aspect="auto", cmap=BLUE_TO_RED, vmin=-top, vmax=top)
        share, right = result["arms"][kind]["mean"], accuracy(result["arms"], kind)
        axes.set_title(
            f"{kind}\n{share:.0f} % distinct, "
            f"{np.mean(right):.0f} ± {np.std(right, ddof=1):.0f} % right",
            size=9,
        )
        axes.grid(False)
    for axes in grid[3:]:
        axes.set_xlabel("Pixel")
    for axes in grid[::3]:
        axes.set_ylabel("Unit of the first layer")
    figure.suptitle(
        f"Weights after training, seed 0; figures over {len(result['seeds'])} seeds",
        size=10,
    )
    return figure


STUDY = Study(
    file=__file__,
    arms={
        kind: functools.partial(arm, kind) for kind in (RANDOM, *TRAPPED, *FREED, HEAD)
    },
    baseline=ALIKE,
    measure="Hidden units that no other equals (%)",
    decide=decide,
    setting=f"digits, two hidden layers of 32, tanh, {EPOCHS} epochs",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
