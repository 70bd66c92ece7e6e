"""At which ratio of update to weight a small net ends with the lowest loss.

Claim:   the norm of an update is about a thousandth of the weights'; far more or far
         less is a sign of trouble.
Source:  Stanford's CS231n; the study notes (docs/site/notes.toml), section "searching
         in practice".
Data:    scikit-learn's digits, 500 to train on, 300 to choose by; ReLU nets of width 32
         and 256; SGD, momentum and Adam at 13 rates, 2 and 20 epochs in batches of 25.
         The ratio is the geometric mean over kernels and the steps of the second half.
Rule:    each arm's ratio is that at the rate with the lowest loss on the choosing part.
         Holds, if the mean of log10 lies within half a decade of -3 in all twelve arms;
         partly, if in some; not here, if in none.
Change:  the length of training and the batch: fewer or larger steps need larger ratios.
Command: python studies/update_ratio.py
Writes:  docs/studies/update_ratio.json and .png
"""

import functools

import numpy as np
from harness import Study
from mlp import MLP, digits, train
from optimizers import adam, momentum, sgd
from pictures import COLOURS, band, panels

KINDS = {"SGD": sgd, "momentum": momentum, "Adam": adam}
WIDTHS, LENGTHS, COUNT = (32, 256), (2, 20), 500
RATES = {
    "SGD": np.geomspace(1e-3, 3, 13),
    "momentum": np.geomspace(1e-4, 0.3, 13),
    "Adam": np.geomspace(1e-5, 0.1, 13),
}


def run(kind, width, epochs, rate, seed):
    """The ratio's log10 in the second half of training, and the loss at its end."""
    x, y, test_x, test_y = digits(seed, train=COUNT, test=300)
    rng = np.random.default_rng(seed)
    net = MLP((64, width, 10), "relu", rng)
    make, ratios = KINDS[kind](), []

    def step(gradient):
        taken = make(gradient)
        moves, _ = net.views(taken)
        pairs = zip(moves, net.kernels, strict=True)
        norms = [rate * np.linalg.norm(m) / np.linalg.norm(k) for m, k in pairs]
        ratios.append(np.mean(np.log10(np.maximum(norms, 1e-12))))
        return taken

    train(net, x, y, step, rate, epochs, rng, batch=25)
    ratio = float(np.nan_to_num(np.mean(ratios[len(ratios) // 2 :]), nan=2, posinf=2))
    return min(ratio, 2.0), min(net.loss(test_x, test_y), float(np.log(10)))


def arm(kind, width, epochs, seed):
    """log10 of the ratio at the best rate; the ratios and losses at all of them."""
    found = [run(kind, width, epochs, rate, seed) for rate in RATES[kind]]
    ratios, losses = np.transpose(found)
    details = {"ratios": ratios.round(3).tolist(), "losses": losses.round(4).tolist()}
    return ratios[np.argmin(losses)], details


def name(kind, width, epochs):
    """Of an arm."""
    return f"{kind}, {width} units, {epochs} epochs"


CELLS = [(k, w, e) for k in KINDS for w in WIDTHS for e in LENGTHS]


def decide(arms):
    """The rule of the header."""
    near = [abs(row["mean"] + 3) <= 0.5 for row in arms.values()]
    verdict = "holds" if all(near) else "partly" if any(near) else "not here"
    means = {arm: 10 ** row["mean"] for arm, row in arms.items()}
    least, most = min(means, key=means.get), max(means, key=means.get)
    return verdict, (
        f"The best ratio lies within half a decade of 1e-3 in {sum(near)} of "
        f"{len(near)} arms; it goes from {means[least]:.1e} ({least}) to "
        f"{means[most]:.1e} ({most})."
    )


def picture(result):
    """Loss against the ratio, a panel for each length of training."""
    figure, grid = panels(2, width=4.8, height=4, sharey=True)
    for axes, epochs in zip(grid, LENGTHS, strict=True):
        for colour, kind in zip(COLOURS, KINDS, strict=False):
            for width, style in zip(WIDTHS, ("--", "-"), strict=True):
                details = result["arms"][name(kind, width, epochs)]["details"]
                ratios = np.mean([each["ratios"] for each in details], axis=0)
                losses = [each["losses"] for each in details]
                label = f"{kind}, {width} units"
                band(axes, 10**ratios, losses, colour, label, log=True, ls=style)
        axes.axvspan(10**-3.5, 10**-2.5, color="#dddddd", alpha=0.6, lw=0)
        axes.set(xscale="log", yscale="log", xlim=(1e-5, 1))
        axes.set_xlabel("Norm of the update / norm of the kernel")
        axes.set_title(f"{epochs} epochs, {len(result['seeds'])} seeds, ± sd", size=10)
    grid[0].set_ylabel("Loss on held-out digits (nats)")
    grid[0].legend(frameon=False, fontsize=8, loc="lower left")
    return figure


STUDY = Study(
    file=__file__,
    arms={name(*cell): functools.partial(arm, *cell) for cell in CELLS},
    baseline=name("Adam", 32, 20),
    measure="log10 of update / weight at the best rate",
    decide=decide,
    setting=f"{COUNT} digits, batches of 25, the best of 13 rates",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
