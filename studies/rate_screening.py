"""Whether one epoch tells which learning rate a full run needs.

Claim:   to save time, try each value for one epoch only and see how the loss falls,
         even another one each epoch of the same run, at the risk of being wrong.
Source:  Wu et al., "Understanding Short-Horizon Bias in Stochastic Meta-Optimization",
         ICLR 2018, arXiv 1803.02021; the study notes (docs/site/notes.toml), section
         "by hand".
Data:    scikit-learn's digits, 600 to train on, 300 to choose on, 500 to test; with
         right labels, and with 30 % of the labels of both parts shuffled; 64-64-10,
         ReLU, SGD and Adam at 13 rates each, three a decade; a full run is 30 epochs in
         batches of 30. A rate is chosen by the loss on the 300: after a full run, or
         after one epoch from the start; or by how it fell in an epoch of a single run
         of 13, whose rates rise.
Rule:    eight signs, two for either optimizer and labels: (1) the rank correlation of
         the losses after one epoch with those after full runs, over the rates, is at
         least 0.7, the mean over the seeds; (2) the 95 % interval of the test accuracy
         after a full run, chosen by one epoch minus chosen by full runs, lies above -1
         point. Holds, if all; partly, if some; not here, if none.
Change:  longer runs and decaying rates, of which one epoch tells less.
Command: python studies/rate_screening.py
Writes:  docs/studies/rate_screening.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs, summarise
from mlp import MLP, digits, train
from optimizers import adam, sgd
from pictures import COLOURS, band, groups, panels
from scipy import stats

COUNT, TO_CHOOSE, EPOCHS, BATCH = 600, 300, 30, 30
OPTIMIZERS = {  # and their rates
    "SGD": (sgd, 10 ** np.linspace(-3, 1, 13)),
    "Adam": (adam, 10 ** np.linspace(-4.5, -0.5, 13)),
}
LABELS = {"right labels": 0.0, "30 % shuffled": 0.3}
FULL, FIRST, RISING = "full runs", "one epoch of each", "one run of rising rates"


def data(noise, seed):
    """What to train on, to choose on and to test on, as pairs."""
    x, y, *test = digits(seed, train=COUNT + TO_CHOOSE)
    rng = np.random.default_rng(seed)
    some = rng.permutation(len(y))[: round(noise * len(y))]
    y[some] = y[rng.permutation(some)]
    return (x[:COUNT], y[:COUNT]), (x[COUNT:], y[COUNT:]), test


def full_run(optimizer, labels, rate, seed):
    """The losses on the part to choose on, by epoch; the test accuracy in %."""
    few, held, test = data(LABELS[labels], seed)
    rng, losses = np.random.default_rng(seed), []
    net = MLP((64, 64, 10), "relu", rng)

    def seen():
        losses.append(net.loss(*held))

    step = OPTIMIZERS[optimizer][0]()
    train(net, *few, step, rate, EPOCHS, rng, BATCH, seen=seen)
    return losses, net.accuracy(*test)


@functools.cache
def full_runs(optimizer, labels, seed):
    """Losses by rate and epoch; test accuracies by rate."""
    rates = OPTIMIZERS[optimizer][1]
    runs = [full_run(optimizer, labels, rate, seed) for rate in rates]
    losses, accuracies = zip(*runs, strict=True)
    return np.array(losses), np.array(accuracies)


def rising(optimizer, labels, seed):
    """By rate: the loss after its epoch less the one before, within a single run."""
    make, rates = OPTIMIZERS[optimizer]
    few, held, _ = data(LABELS[labels], seed)
    rng = np.random.default_rng(seed)
    net, step = MLP((64, 64, 10), "relu", rng), make()
    losses = [net.loss(*held)]
    for rate in rates:
        train(net, *few, step, rate, 1, rng, BATCH)
        losses.append(net.loss(*held))
    falls = np.full(len(rates), np.inf)
    np.subtract(losses[1:], losses[:-1], out=falls, where=np.isfinite(losses[1:]))
    return falls


def arm(optimizer, labels, how, seed):
    """Test accuracy in % after a full run; the rate, and the rank correlation."""
    losses, accuracies = full_runs(optimizer, labels, seed)
    by = {FULL: losses[:, -1], FIRST: losses[:, 0]}.get(how)
    if by is None:
        by = rising(optimizer, labels, seed)
    best = int(np.argmin(by))
    return accuracies[best], {
        "rate": float(f"{OPTIMIZERS[optimizer][1][best]:.2g}"),
        "rank correlation": round(stats.spearmanr(by, losses[:, -1])[0], 3),
    }


def name(optimizer, labels, how):
    """Of an arm."""
    return f"{optimizer}, {labels}: chosen by {how}"


PLACES = [(optimizer, labels) for labels in LABELS for optimizer in OPTIMIZERS]


def seen(arms, key, *which):
    """A detail of an arm, by seed."""
    return [each[key] for each in arms[name(*which)]["details"]]


def decide(arms):
    """The rule of the header."""
    signs, told = [], []
    for place in PLACES:
        words = []
        for how in (FIRST, RISING):
            pair = [arms[name(*place, each)]["values"] for each in (how, FULL)]
            row = {"difference": 0.0, "interval": (0.0, 0.0)} | summarise(*pair)
            rank = np.mean(seen(arms, "rank correlation", *place, how))
            words.append(f"{rank:.2f} and {row['difference']:+.1f} points")
            if how == FIRST:
                signs += [rank >= 0.7, row["interval"][0] > -1]
        told.append(f"{', '.join(place)}: {words[0]} ({words[1]})")
    return by_signs(signs), (
        "Rank correlation with full runs, and what the choice does to test accuracy, "
        "by one epoch of each rate (in brackets, by one run of rising rates): "
        f"{'; '.join(told)}."
    )


def picture(result):
    """The losses after one epoch and after full runs, and what the choices cost."""
    arms, seeds = result["arms"], result["seeds"]
    figure, axes = panels(3, rows=2, width=4.1, height=3.4)
    for row, labels in enumerate(LABELS):
        for panel, optimizer in zip(axes[3 * row :], OPTIMIZERS, strict=False):
            rates = OPTIMIZERS[optimizer][1]
            runs = np.array([full_runs(optimizer, labels, seed)[0] for seed in seeds])
            for epoch in (1, EPOCHS):
                shown = np.minimum(runs[:, :, epoch - 1], 10)
                label, colour = f"after {epoch} epochs", COLOURS[epoch > 1]
                band(panel, rates, shown, colour, label.replace("1 epochs", "1 epoch"))
            panel.set(xscale="log", xlabel="Learning rate", ylim=(0, 4))
            panel.set_ylabel("Loss on the part to choose on (nats)")
            panel.set_title(f"{optimizer}, {labels}, mean ± sd", size=10)
        panel, table = axes[3 * row + 2], {}
        for how in (FIRST, RISING):
            table[f"by {how}"] = [
                np.subtract(
                    arms[name(optimizer, labels, how)]["values"],
                    arms[name(optimizer, labels, FULL)]["values"],
                )
                for optimizer in OPTIMIZERS
            ]
        groups(panel, list(OPTIMIZERS), table, COLOURS[2:])
        panel.set_ylabel("Accuracy over choosing by full runs (points)", size=9)
        panel.set_title(f"{labels}, {len(seeds)} seeds, mean ± sd", size=10)
    for panel in axes[:3]:
        panel.legend(frameon=False, fontsize=9)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(*place, how): functools.partial(arm, *place, how)
        for place in PLACES
        for how in (FULL, FIRST, RISING)
    },
    baseline=name(*PLACES[0], FULL),
    measure="Test accuracy on digits after a full run (%)",
    decide=decide,
    seeds=tuple(range(10)),
    setting=f"{COUNT} digits to train on, 13 rates, full runs of {EPOCHS} epochs",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
