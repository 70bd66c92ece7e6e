"""Hyperparameters tuned one after the other, or all at once, at equal trials.

Claim:   there is no need to worry about hyperparameters that depend on each other; a
         few at a time can be tuned on their own.
Source:  the study notes (docs/site/notes.toml), section "searching in practice";
         against it Smith, "A disciplined approach to neural network hyper-parameters",
         arXiv 1803.09820.
Data:    scikit-learn's digits, 300 to train on, 300 to choose by, 500 to test;
         64-32-10, ReLU, SGD for 180 steps; rate, momentum and batch, five values each:
         125 cells. One by one: five rates from random values of the others, then five
         momenta at the best rate, then five batches: 13 trials, in either order. All at
         once: 13 cells drawn at random, or all 125.
Rule:    by the loss on the choosing part, of the best trial. Holds, if the 95 %
         interval of one by one (rate first) minus random lies below +10 % of random's
         mean; not here, if it lies above 0; else partly.
Change:  starts far from anything that learns; dimensions that must be right together.
Command: python studies/tuning_one_by_one.py
Writes:  docs/studies/tuning_one_by_one.json and .png
"""

import functools

import numpy as np
from harness import Study, summarise
from mlp import MLP, digits, train
from optimizers import momentum
from pictures import COLOURS, dots, heat, panels

COUNT, STEPS, TRIALS = 300, 180, 13
VALUES = {
    "rate": (0.001, 0.01, 0.1, 1.0, 10.0),
    "momentum": (0.0, 0.5, 0.9, 0.98, 0.99),
    "batch": (5, 20, 50, 100, 300),
}
FORWARD = "one by one: rate, momentum, batch"
BACKWARD = "one by one: batch, momentum, rate"
RANDOM, ALL = f"random, {TRIALS} trials", "all 125 cells"


@functools.cache
def trial(cell, seed):
    """Loss on the choosing part, and test accuracy, at a cell of the 125."""
    rate, rho, batch = (
        values[i] for values, i in zip(VALUES.values(), cell, strict=True)
    )
    x, y, test_x, test_y = digits(seed, train=2 * COUNT)
    rng = np.random.default_rng(seed)
    net = MLP((64, 32, 10), "relu", rng)
    args = x[:COUNT], y[:COUNT], momentum(rho), rate, STEPS * batch // COUNT, rng
    train(net, *args, batch=batch)
    loss = min(net.loss(x[COUNT:], y[COUNT:]), float(np.log(10)))
    return loss, net.accuracy(test_x, test_y)


def one_by_one(order, seed):
    """The cells that it tries, from a random one on."""
    cell = list(np.random.default_rng(1000 + seed).integers(5, size=3))
    cells = []
    for axis in order:
        line = [
            tuple(int(i) for i in (*cell[:axis], j, *cell[axis + 1 :]))
            for j in range(5)
        ]
        cells += [each for each in line if each not in cells]
        cell = list(min(line, key=lambda each: trial(each, seed)))
    return cells


def random(seed):
    """Cells drawn at random."""
    drawn = np.random.default_rng(2000 + seed).choice(125, TRIALS, replace=False)
    return [tuple(int(i) for i in np.unravel_index(each, (5, 5, 5))) for each in drawn]


def everything(seed):
    """All cells."""
    return list(np.ndindex(5, 5, 5))


ARMS = {
    RANDOM: random,
    FORWARD: functools.partial(one_by_one, (0, 1, 2)),
    BACKWARD: functools.partial(one_by_one, (2, 1, 0)),
    ALL: everything,
}


def arm(cells, seed):
    """The best loss on the choosing part; where it is, and its test accuracy."""
    best = min(cells(seed), key=lambda cell: trial(cell, seed))
    loss, accuracy = trial(best, seed)
    return loss, {"accuracy": accuracy, "cell": list(best)}


def decide(arms):
    """The rule of the header."""
    row, random = arms[FORWARD], arms[RANDOM]["mean"]
    low, high = summarise(row["values"], arms[RANDOM]["values"])["interval"]
    verdict = "holds" if high < 0.1 * random else "not here" if low > 0 else "partly"
    told = "; ".join(f"{name} {each['mean']:.3f}" for name, each in arms.items())
    return verdict, (
        f"The best loss: {told}. One by one minus random: {low:+.3f} to {high:+.3f}."
    )


def picture(result):
    """How rate and momentum depend on each other, and what each way found."""
    figure, (left, right) = panels(2, width=5, height=4)
    seeds = result["seeds"]
    losses = [
        [np.mean([trial((i, j, 2), seed)[0] for seed in seeds]) for i in range(5)]
        for j in range(5)
    ]
    names = [[f"{value:g}" for value in VALUES[axis]] for axis in ("momentum", "rate")]
    heat(left, losses, *names, "Loss on the choosing part (nats)", "{:.2f}")
    left.set(xlabel="Learning rate", ylabel="Momentum")
    left.set_title(
        f"Batches of {VALUES['batch'][2]}, mean of {len(seeds)} seeds", size=10
    )
    for place, (colour, name) in enumerate(zip(COLOURS, ARMS, strict=False)):
        dots(right, place, result["arms"][name]["values"], colour)
    labels = [name.replace(": ", ":\n").replace(", 13", ",\n13") for name in ARMS]
    right.set_xticks(range(len(ARMS)), labels, size=8, rotation=20)
    right.set_yscale("log")
    right.set_ylabel("Loss of the best trial (nats)")
    right.set_title(f"{len(seeds)} seeds, mean ± sd", size=10)
    return figure


STUDY = Study(
    file=__file__,
    arms={name: functools.partial(arm, how) for name, how in ARMS.items()},
    baseline=RANDOM,
    measure="Loss of the best trial on the choosing part (nats)",
    decide=decide,
    seeds=tuple(range(10)),
    setting=f"digits, SGD, {STEPS} steps a trial",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
