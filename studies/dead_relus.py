"""How many ReLUs die, what makes more of them die, and what brings them back.

Claim:   10 to 20 % dead ReLUs are usual and harmless; high rates and large biases make
         it worse; leaky ReLU, PReLU and ELU cure it.
Source:  Lu et al., "Dying ReLU and Initialization", arXiv 1903.06733; the study notes
         (docs/site/notes.toml), sections "ReLU and its kin" and "practice".
Data:    scikit-learn's digits; 64-64-64-10, Kaiming, SGD in batches of 32, 10 epochs.
         Dead is a hidden unit that no training example switches on.
Rule:    four signs. (1) At the rate with the best mean accuracy, biases 0, the dead are
         5 to 25 %. (2) The highest rate has more of them than that one. (3) So has a
         bias of -2 against 0 at that rate. (4) At the rate and bias where ReLU has the
         most dead, each cure has the better accuracy. (2) to (4) with p < 0.05. Holds,
         if all; partly, if some; not here, if none.
Revised: the rule, after the numbers of a first run had been seen.
Change:  narrower or deeper nets; Adam; normalisation layers, that centre each unit.
Command: python studies/dead_relus.py
Writes:  docs/studies/dead_relus.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs, lead, summarise
from mlp import MLP, digits, train
from optimizers import sgd
from pictures import groups, heat, panels

RATES, BIASES = (0.03, 0.1, 0.3, 1.0), (1.0, 0.0, -2.0, -4.0)
CURES = {"leaky": "leaky ReLU", "prelu": "PReLU", "elu": "ELU"}
EPOCHS, SHOWN = 10, 0.1


class PReLU(MLP):
    """A net of ReLUs whose slopes for negative values are learned, unit by unit."""

    def __init__(self, sizes, rng):
        super().__init__(sizes, "relu", rng)
        count = len(self.w)
        self.w = np.append(self.w, np.full(sum(sizes[1:-1]), 0.25))
        self.kernels, self.biases = self.views(self.w)
        self.slopes = self.w[count:].reshape(len(sizes) - 2, -1)

    def forward(self, x, masks=None):
        """As of any `MLP`, with a slope for each unit."""
        slopes = iter(self.slopes)  # one after the other is asked for
        self.activate = lambda a: np.where(a > 0, a, next(slopes) * a)
        return super().forward(x, masks)

    def gradient(self, x, y, masks=None):
        """The same; the slopes' gradients come last in the vector."""
        slopes = iter(self.slopes[::-1])  # the last comes first
        self.slope = lambda a, o: np.where(a > 0, 1, next(slopes))
        loss, gradient = super().gradient(x, y)
        a, _ = self.forward(x)
        slopes = gradient[-self.slopes.size :].reshape(self.slopes.shape)
        for layer, slope in enumerate(slopes):
            arriving = self.deltas[layer + 1] @ self.kernels[layer + 1].T
            slope[:] = np.sum(arriving * np.minimum(a[layer], 0), axis=0)
        return loss, gradient


def arm(activation, rate, bias, seed):
    """Dead units in %; the accuracy on test digits."""
    x, y, test_x, test_y = digits(seed)
    rng = np.random.default_rng(seed)
    sizes = (64, 64, 64, 10)
    net = PReLU(sizes, rng) if activation == "prelu" else MLP(sizes, activation, rng)
    for each in net.biases[:-1]:
        each[:] = bias
    train(net, x, y, sgd(), rate, EPOCHS, rng)
    with np.errstate(all="ignore"):
        a, _ = net.forward(x)
    on = np.concatenate([np.any(each > 0, axis=0) for each in a[:-1]])
    accuracy = net.accuracy(test_x, test_y)
    return 100 * np.mean(~on), {"accuracy": round(accuracy, 2)}


def name(activation, rate, bias):
    """Of an arm."""
    kind = CURES.get(activation, "ReLU")
    return f"{kind}, rate {rate:g}, bias {bias:g}"


CELLS = [(rate, bias) for rate in RATES for bias in BIASES]


def accuracy(arms, arm):
    """Of an arm, by seed."""
    return [each["accuracy"] for each in arms[arm]["details"]]


def gain(arms, cure, rate, bias):
    """Of a cure over ReLU in accuracy."""
    pair = [accuracy(arms, name(kind, rate, bias)) for kind in (cure, "relu")]
    return summarise(*pair)


def decide(arms):
    """The rule of the header."""
    plain = {rate: name("relu", rate, 0.0) for rate in RATES}
    best = max(RATES, key=lambda rate: np.mean(accuracy(arms, plain[rate])))
    worst = max(CELLS, key=lambda cell: arms[name("relu", *cell)]["mean"])
    usual = arms[plain[best]]["mean"]
    by_rate, p_rate = lead(arms, plain[RATES[-1]], plain[best])
    by_bias, p_bias = lead(arms, name("relu", best, -2.0), plain[best])
    gains = {kind: gain(arms, cure, *worst) for cure, kind in CURES.items()}
    signs = (
        5 <= usual <= 25,
        by_rate > 0 and p_rate < 0.05,
        by_bias > 0 and p_bias < 0.05,
        all(g.get("difference", 0) > 0 and g["p"] < 0.05 for g in gains.values()),
    )
    told = ", ".join(f"{k} {g.get('difference', 0):+.1f}" for k, g in gains.items())
    return by_signs(signs), (
        f"At the best rate, {best:g}, {usual:.1f} % are dead. Rate {RATES[-1]:g} makes "
        f"that {usual + by_rate:.1f} %, a bias of -2 {usual + by_bias:.1f} %. Where "
        f"most are dead ({arms[name('relu', *worst)]['mean']:.0f} %, at rate "
        f"{worst[0]:g} and bias {worst[1]:g}), the cures change accuracy by these "
        f"points: {told}."
    )


def picture(result):
    """A heat map of the dead, and what the cures bring at each rate."""
    arms = result["arms"]
    figure, (left, right) = panels(2, width=4.9, height=4)
    order = sorted(BIASES)
    dead = [[arms[name("relu", r, b)]["mean"] for r in RATES] for b in order]
    rates, biases = [f"{r:g}" for r in RATES], [f"{b:g}" for b in order]
    heat(left, dead, biases, rates, "Dead ReLUs (%)", vmin=0, vmax=100)
    left.set(xlabel="Learning rate", ylabel="Bias at the start")
    left.set_title("ReLU: dead units, mean", size=10)
    table = {
        label: [accuracy(arms, name(kind, SHOWN, bias)) for bias in order]
        for kind, label in ({"relu": "ReLU"} | CURES).items()
    }
    groups(right, biases, table)
    right.set(xlabel="Bias at the start", ylabel="Test accuracy (%)")
    right.set_title(f"Rate {SHOWN:g}, {len(result['seeds'])} seeds, mean ± sd", size=10)
    right.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(kind, *cell): functools.partial(arm, kind, *cell)
        for kind in ("relu", *CURES)
        for cell in CELLS
    },
    baseline=name("relu", 0.1, 0.0),
    measure="Hidden units that no training example switches on (%)",
    decide=decide,
    setting=f"digits, two hidden layers of 64, SGD, {EPOCHS} epochs",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
