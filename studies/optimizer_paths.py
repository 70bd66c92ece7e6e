"""The optimizers on three toys, their paths drawn, and on a small net.

Claim:   plain SGD is the slowest; momentum and adaptive rates each mend something;
         Adam joins both, and is the one to take.
Source:  Ruder, arXiv 1609.04747; the study notes (docs/site/notes.toml), section
         "optimizers".
Data:    (1) scikit-learn's digits, 1,000 to train on; 64-32-32-10, ReLU, 5 epochs in
         batches of 32. (2) A narrow valley (curvatures 1 and 50), Rosenbrock's curved
         one, a saddle; the start is drawn near a point. Each optimizer at the best of
         13 rates, chosen on other seeds: by the net's training loss, and for a toy by
         the mean loss along the path.
Rule:    two signs, by the net's training loss. SGD's mean is the highest of all six.
         Adam's is the lowest, or not higher than the lowest with p < 0.05. Holds, if
         both; partly, if one; not here, if none. The toys decide nothing.
Change:  a schedule for SGD; a rate that was not searched for.
Command: python studies/optimizer_paths.py
Writes:  docs/studies/optimizer_paths.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs, lead
from mlp import MLP, digits, train
from optimizers import ALL, descend
from pictures import COLOURS, dots, legend_below, panels

RATES = np.geomspace(1e-4, 3, 13)
EPOCHS, STEPS, OTHERS = 5, 400, (100, 101, 102)


def valley(w):
    """Loss and gradient of a narrow bowl."""
    x, y = w[..., 0], w[..., 1]
    return 0.5 * (x**2 + 50 * y**2), np.stack([x, 50 * y], axis=-1)


def rosenbrock(w):
    """Loss and gradient of a curved valley, flat along its floor."""
    x, y = w[..., 0], w[..., 1]
    rise = y - x**2
    gradient = [-2 * (1 - x) - 40 * x * rise, 20 * rise]
    return (1 - x) ** 2 + 10 * rise**2, np.stack(gradient, axis=-1)


def saddle(w):
    """Loss and gradient of a saddle with a floor on either side."""
    x, y = w[..., 0], w[..., 1]
    return x**2 - y**2 + y**4 / 2 + 0.5, np.stack([2 * x, 2 * y**3 - 2 * y], axis=-1)


TOYS = {  # the toy, where paths start, the loss that counts as there, what is drawn
    "narrow valley": (valley, (-4.0, 0.8), 0.01, ((-5, 1), (-1.2, 1.2))),
    "Rosenbrock's valley": (rosenbrock, (-1.2, 1.2), 0.01, ((-1.8, 1.6), (-0.6, 2.2))),
    "saddle": (saddle, (1.2, 0.003), 0.05, ((-1.4, 1.4), (-1.3, 1.3))),
}


def start(toy, seed):
    """The point where a path starts."""
    middle = np.array(TOYS[toy][1])
    draw = np.random.default_rng(seed).normal(size=2)
    return middle + 0.05 * np.abs(middle) * draw


def arrival(toy, path):
    """Steps until the loss is small enough; `STEPS` if it never is."""
    function, _, enough, _ = TOYS[toy]
    there = function(path)[0] < enough
    return np.where(there.any(axis=0), there.argmax(axis=0), STEPS)


@functools.cache
def best_rate(toy, optimizer):
    """The rate with the lowest mean loss along the path, over other seeds."""
    starts = np.array([[start(toy, seed)] * len(RATES) for seed in range(100, 120)])
    gradient = lambda w: TOYS[toy][0](w)[1]  # noqa: E731
    path = descend(gradient, starts, ALL[optimizer](), RATES[:, None], STEPS)
    losses = np.minimum(TOYS[toy][0](path)[0], 1e3)
    return float(RATES[np.argmin(losses.mean(axis=(0, 1)))])


def walk(toy, optimizer, seed):
    """A path at the best rate."""
    gradient = lambda w: TOYS[toy][0](w)[1]  # noqa: E731
    rate = best_rate(toy, optimizer)
    return descend(gradient, start(toy, seed), ALL[optimizer](), rate, STEPS)


def net_loss(optimizer, rate, seed):
    """Training loss of the net, at most that of guessing."""
    x, y, *_ = digits(seed)
    rng = np.random.default_rng(seed)
    net = MLP((64, 32, 32, 10), "relu", rng)
    train(net, x, y, ALL[optimizer](), rate, EPOCHS, rng)
    return min(net.loss(x, y), float(np.log(10)))


@functools.cache
def best_net_rate(optimizer):
    """The rate with the lowest mean training loss on other seeds."""
    means = [np.mean([net_loss(optimizer, r, s) for s in OTHERS]) for r in RATES]
    return float(RATES[int(np.argmin(means))])


def arm(optimizer, seed):
    """The net's training loss; the steps on each toy."""
    rate = best_net_rate(optimizer)
    steps = {toy: int(arrival(toy, walk(toy, optimizer, seed))) for toy in TOYS}
    return net_loss(optimizer, rate, seed), {"rate": rate, "steps": steps}


def decide(arms):
    """The rule of the header."""
    means = {name: row["mean"] for name, row in arms.items()}
    lowest = min(means, key=means.get)
    behind, p = lead(arms, "Adam", lowest)
    signs = max(means, key=means.get) == "SGD", behind <= 0 or p >= 0.05
    told = ", ".join(f"{name} {mean:.4f}" for name, mean in means.items())
    return by_signs(signs), f"Training loss after {EPOCHS} epochs: {told}."


def picture(result):
    """Paths on the toys, and below the net's loss and the steps."""
    figure, grid = panels(3, rows=2, width=4.1, height=3.6)
    for axes, (toy, (function, _, _, edges)) in zip(grid, TOYS.items(), strict=False):
        x, y = (np.linspace(*edge, 120) for edge in edges)
        loss = function(np.stack(np.meshgrid(x, y), axis=-1))[0]
        axes.contour(x, y, loss, np.geomspace(0.01, loss.max(), 12), colors="#bbbbbb")
        for colour, name in zip(COLOURS, ALL, strict=False):
            path = walk(toy, name, 0)
            end = int(arrival(toy, path)) + 1
            axes.plot(*path[:end].T, ".-", color=colour, ms=3, lw=1.2, label=name)
        axes.set(xlim=edges[0], ylim=edges[1])
        axes.set(xlabel="First weight", ylabel="Second weight")
        axes.set_title(f"{toy}, best rate, seed 0", size=10)
    bars = len(ALL)
    for axes, toy in zip(grid[3:], (None, *list(TOYS)[1:]), strict=True):
        for place, name in enumerate(ALL):
            row = result["arms"][name]
            values = [each["steps"][toy] for each in row["details"]] if toy else None
            dots(axes, place, values or row["values"], COLOURS[place])
        axes.set_xticks(range(bars), ALL, size=8)
        axes.set_ylabel(f"Steps, {toy}" if toy else "Training loss of the net (nats)")
        axes.set_title(f"{len(result['seeds'])} seeds, mean ± sd", size=10)
    legend_below(figure, grid[0], columns=6)
    return figure


STUDY = Study(
    file=__file__,
    arms={name: functools.partial(arm, name) for name in ALL},
    baseline="SGD",
    measure=f"Training loss of a small net on digits after {EPOCHS} epochs (nats)",
    decide=decide,
    seeds=tuple(range(10)),
    setting="each at the best of 13 rates by other seeds",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
