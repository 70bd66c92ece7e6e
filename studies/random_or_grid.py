"""Random against grid search at equal trials, where one dimension is dead.

Claim:   random search beats a grid at equal trials, for a grid spends them on
         dimensions that do not matter.
Source:  Bergstra and Bengio, JMLR 2012; the study notes (docs/site/notes.toml), section
         "search algorithms".
Data:    scikit-learn's digits, 300 to train on, 300 to choose by, 500 to test;
         64-32-10, ReLU, SGD, 3 epochs. The rate lies between 1e-3 and 10, the dead
         dimension is one that the net never sees. A grid has 4 rates by 4 of the other,
         or 16 rates where there is no other; it is laid with a random offset, so that
         no rate is favoured.
Rule:    two signs, by the best loss on the choosing part. With the dead dimension
         random has the lower mean, p < 0.05. Without, it does not. Holds, if both;
         partly, if one; not here, if none.
Change:  all dimensions of equal weight; a grid so fine that neighbours hardly differ.
Command: python studies/random_or_grid.py
Writes:  docs/studies/random_or_grid.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs, lead
from mlp import MLP, digits, train
from optimizers import sgd
from pictures import COLOURS, dots, panels

LOW, HIGH, TRIALS, EPOCHS, COUNT = -3.0, 1.0, 16, 3, 300


def grid(rng, dead):
    """Points in [0, 1]²: a grid with a random offset; a line, if none is dead."""
    count = round(TRIALS**0.5) if dead else TRIALS
    rates = (np.arange(count) + rng.random()) / count
    others = (np.arange(count) + rng.random()) / count if dead else [0.5]
    return np.array([(rate, other) for rate in rates for other in others])


def random(rng, dead):
    """Points in [0, 1]², drawn."""
    points = rng.random((TRIALS, 2))
    return points if dead else points * [1, 0] + [0, 0.5]


@functools.cache
def trial(place, seed):
    """Loss on the choosing part, and test accuracy, of a net trained at a rate."""
    x, y, test_x, test_y = digits(seed, train=2 * COUNT)
    rng = np.random.default_rng(seed)
    net = MLP((64, 32, 10), "relu", rng)
    rate = 10 ** (LOW + place * (HIGH - LOW))
    train(net, x[:COUNT], y[:COUNT], sgd(), rate, EPOCHS, rng, batch=20)
    loss = min(net.loss(x[COUNT:], y[COUNT:]), float(np.log(10)))
    return loss, net.accuracy(test_x, test_y)


def arm(layout, dead, seed):
    """The best loss of all trials; how good the test accuracy is there, in %."""
    points = layout(np.random.default_rng(1000 + seed), dead)
    found = [trial(float(place), seed) for place, _ in points]
    loss, accuracy = min(found)
    details = {"accuracy": accuracy, "points": points.round(4).tolist()}
    return loss, details | {"losses": [round(each, 4) for each, _ in found]}


ARMS = {
    "grid, one dead dimension": (grid, True),
    "random, one dead dimension": (random, True),
    "grid, no dead dimension": (grid, False),
    "random, no dead dimension": (random, False),
}


def decide(arms):
    """The rule of the header."""
    gains = []
    for what in ("one dead dimension", "no dead dimension"):
        gains.append(lead(arms, f"random, {what}", f"grid, {what}"))
    signs = (
        gains[0][0] < 0 and gains[0][1] < 0.05,
        gains[1][0] >= 0 or gains[1][1] >= 0.05,
    )
    told = "; ".join(
        f"{arm} {row['mean']:.3f} "
        f"({np.mean([each['accuracy'] for each in row['details']]):.1f} % right)"
        for arm, row in arms.items()
    )
    return by_signs(signs), f"The best of {TRIALS} trials: {told}."


def picture(result):
    """The trials of one seed, and below how close the best came."""
    figure, axes = panels(3, width=4, height=3.8)
    arms = result["arms"]
    names = list(ARMS)
    for panel, name, colour in zip(axes, names, COLOURS, strict=False):
        details = arms[name]["details"][0]
        rates, others = np.transpose(details["points"])
        rates = 10 ** (LOW + rates * (HIGH - LOW))
        size = 30 + 150 * (np.array(details["losses"]) == min(details["losses"]))
        panel.scatter(rates, others, size, color=colour, alpha=0.8)
        panel.vlines(rates, -0.12, -0.04, color=colour, lw=1.5)
        panel.set(xscale="log", ylim=(-0.12, 1.05), xlabel="Learning rate")
        panel.set_ylabel("The dead dimension")
        panel.set_title(f"{name.split(',')[0]}: {TRIALS} trials, best large", size=10)
        if name == names[1]:
            break
    for place, name in enumerate(names):
        dots(axes[2], place, arms[name]["values"], COLOURS[place % 2])
    labels = [name.replace(", ", ",\n").replace(" dimension", "") for name in names]
    axes[2].set_xticks(range(len(names)), labels, size=8)
    axes[2].set_xlabel("Layout, and dimensions that are dead")
    axes[2].set_ylabel("Best loss on the choosing part (nats)")
    axes[2].set_title(f"{len(result['seeds'])} seeds, mean ± sd", size=10)
    return figure


STUDY = Study(
    file=__file__,
    arms={name: functools.partial(arm, *how) for name, how in ARMS.items()},
    baseline="grid, one dead dimension",
    measure="Best loss on the choosing part (nats)",
    decide=decide,
    seeds=tuple(range(20)),
    setting=f"digits, {TRIALS} trials of {EPOCHS} epochs",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
