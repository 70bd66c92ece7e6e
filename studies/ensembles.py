"""What an ensemble brings, by its size and merge, and what is left at one's price.

Claim:   several models that vote, or whose answers or ranks are averaged, are better
         than one, and cost as many trainings; a snapshot ensemble and a soup have some
         of it at the price of one.
Source:  Huang et al., "Snapshot Ensembles: Train 1, Get M for Free", arXiv 1704.00109;
         Wortsman et al., "Model soups", arXiv 2203.05482; the study notes
         (docs/site/notes.toml), section "ensembles".
Data:    scikit-learn's digits: 300 to train on, 297 that only the greedy soup scores
         its branches by, 1,200 to test on. 64-64-64-10, ReLU, dropout of 0.2, SGD with
         momentum in batches of 25. A whole training is 100 epochs along one cosine from
         a rate of 0.05 to 0, which suited one training best on held-out digits of other
         splits; "1 training" is the mean of ten. At the same price and rate: five
         trainings of 20 epochs from starts of their own; the recipe SnapshotEnsemble
         with five cycles of 20; the recipe greedy_soup of five branches of 10 epochs,
         in orders of their own, from one trunk of 50.
Rule:    four signs, by test accuracy, each with p < 0.05. (1) Ten whole trainings beat
         one by each merge: mean probability, vote, mean rank. At the price of one
         training, (2) the snapshots, their mean, and (3) the soup beat one whole
         training, and (4) the snapshots beat the five short trainings, their mean.
         Holds, if all; partly, if some; not here, if none.
Change:  data that a fifth of the price does not suffice for: here 20 epochs very nearly
         train a net to its end. Without dropout the loss is 0 after the first cycle,
         and the others do not move the net any more.
Command: python studies/ensembles.py
Writes:  docs/studies/ensembles.json and .png
"""

import functools

import keras
import numpy as np
from harness import Study, by_signs, lead
from mlp import digits
from pictures import COLOURS, band, dots, panels
from small_nets import renew

from hornbook.recipes.callbacks.snapshot_ensemble import SnapshotEnsemble
from hornbook.recipes.data.seeded_batches import SeededBatches
from hornbook.recipes.inference.ensemble import Ensemble
from hornbook.recipes.inference.greedy_soup import greedy_soup

TRAIN, TEST, BATCH, RATE, EPOCHS, FEW, MANY = 300, 1200, 25, 0.05, 100, 5, 10
DROP, STEPS = 0.2, TRAIN // BATCH
MERGES = {"mean": "mean probability", "vote": "vote", "rank": "mean rank"}
ONE, REAL = "1 training", f"{FEW} trainings: mean probability"
TEN = {merge: f"{MANY} trainings: {label}" for merge, label in MERGES.items()}
SHORT = f"price of 1: {FEW} short trainings, mean probability"
SNAPSHOTS = f"price of 1: SnapshotEnsemble of {FEW}, mean probability"
SOUP = f"price of 1: greedy_soup of {FEW} branches"
BRANCHES = f"price of 1: these {FEW} branches, mean probability"
WHOLE, CYCLES, SHORTER, TRUNK, BRANCH = 0, 10, 20, 30, 40  # numbers of trainings


@functools.cache
def data(seed):
    """Training, held-out and test part, as pairs of inputs and labels."""
    x, y, rest, labels = digits(seed, train=TRAIN, test=1797 - TRAIN)
    return (x, y), (rest[TEST:], labels[TEST:]), (rest[:TEST], labels[:TEST])


def build(number=0):
    """A net, compiled; the number draws its kernels."""
    model = keras.Sequential([keras.Input((64,))])
    for layer, units in enumerate((64, 64, 10)):
        own = 10 * number + layer
        activation = "softmax" if units == 10 else "relu"
        kernels = keras.initializers.HeNormal(own)
        model.add(keras.layers.Dense(units, activation, kernel_initializer=kernels))
        if units != 10:
            model.add(keras.layers.Dropout(DROP, seed=own + 5))
    # The callback sets the rate before each group of steps: here an epoch.
    loss = "sparse_categorical_crossentropy"
    optimizer = keras.optimizers.SGD(RATE, momentum=0.9)
    model.compile(optimizer, loss, steps_per_execution=STEPS)
    return model


traced = functools.cache(build)


def train(seed, number, epochs, cycles=1, start=None):
    """One training along a cosine or several; a model for the end of each."""
    (x, y), *_ = data(seed)
    number += 100 * seed
    model = renew(traced(), build(number))
    if start is not None:
        model.set_weights(start.get_weights())
    steps = STEPS * epochs // cycles
    batches = SeededBatches(x, y, BATCH, seed=number, steps_per_epoch=steps)
    snapshots = SnapshotEnsemble(cycles, RATE)
    arguments = {"epochs": cycles, "callbacks": [snapshots]}
    model.fit(batches, shuffle=False, verbose=0, **arguments)
    return snapshots.models()


@functools.cache
def several(seed, count, first, epochs):
    """Models of trainings from starts of their own."""
    return [train(seed, first + i, epochs)[0] for i in range(count)]


@functools.cache
def branches(seed):
    """Models of short trainings from what one of half the price has reached."""
    (trunk,) = train(seed, TRUNK, EPOCHS // 2)
    epochs = EPOCHS // 2 // FEW
    return [train(seed, BRANCH + i, epochs, start=trunk)[0] for i in range(FEW)]


def accuracy(model, x, y):
    """In %."""
    return 100 * np.mean(keras.ops.convert_to_numpy(model(x)).argmax(axis=1) == y)


def together(models, merge, seed):
    """Test accuracy in % of models merged."""
    return accuracy(Ensemble(models, merge, from_logits=False), *data(seed)[2])


def curve(merge, seed, sizes=range(1, MANY + 1)):
    """Test accuracy by members, the mean over the groups that ten trainings make."""
    models = several(seed, MANY, WHOLE, EPOCHS)
    return [
        np.mean(
            [
                together(models[i : i + size], merge, seed)
                for i in range(0, MANY - size + 1, size)
            ]
        )
        for size in sizes
    ]


def ten(merge, seed):
    """Test accuracy of ten; that of fewer, too."""
    found = curve(merge, seed)
    return found[-1], {"by members": np.round(found, 3).tolist()}


def merged(models, seed):
    """Test accuracy of the mean probability; that of each alone, too."""
    alone = [round(accuracy(model, *data(seed)[2]), 2) for model in models]
    return together(models, "mean", seed), {"alone": alone}


def soup(seed):
    """Test accuracy of the soup, chosen on held-out digits; how many it keeps."""
    held = data(seed)[1]
    mixed = greedy_soup(branches(seed), lambda model: accuracy(model, *held))
    return accuracy(mixed.model, *data(seed)[2]), {"kept": len(mixed.kept)}


def decide(arms):
    """The rule of the header."""
    leads = {arm: lead(arms, arm, ONE) for arm in arms}
    leads["short"] = lead(arms, SNAPSHOTS, SHORT)
    sure = {arm: by > 0 and p < 0.05 for arm, (by, p) in leads.items()}
    signs = (
        all(sure[arm] for arm in TEN.values()),
        sure[SNAPSHOTS],
        sure[SOUP],
        sure["short"],
    )
    told = {arm: f"{by:+.1f} (p = {p:.2g})" for arm, (by, p) in leads.items()}
    tens = ", ".join(f"{label} {told[TEN[merge]]}" for merge, label in MERGES.items())
    return by_signs(signs), (
        f"Points over one training: of ten, {tens}; of {FEW}, {told[REAL]}. At the "
        f"price of one: SnapshotEnsemble {told[SNAPSHOTS]}, greedy_soup {told[SOUP]}, "
        f"{FEW} short trainings {told[SHORT]}; SnapshotEnsemble over these "
        f"{told['short']}."
    )


def picture(result):
    """Accuracy by members, and gains over one training by price."""
    arms, sizes = result["arms"], np.arange(1, MANY + 1)
    figure, (left, right) = panels(2, width=4.9, height=4.2)
    for merge, colour in zip(MERGES, COLOURS, strict=False):
        curves = [each["by members"] for each in arms[TEN[merge]]["details"]]
        gains = np.subtract(curves, np.reshape(arms[ONE]["values"], (-1, 1)))
        band(left, sizes, gains, colour, MERGES[merge], marker="o", ms=4)
    left.set(xlabel="Trainings merged, each at the whole price", xticks=sizes)
    left.set_ylabel("Gain over 1 training (points)")
    left.set_title(f"{len(result['seeds'])} seeds, mean ± sd", size=10)
    left.legend(frameon=False, fontsize=9, loc="lower right")
    names = {
        SHORT: "5 short\ntrainings",
        SNAPSHOTS: "5\nsnapshots",
        SOUP: "5 branches,\ntheir soup",
        BRANCHES: "their\nmean",
        REAL: "5 whole\ntrainings",
    }
    for place, arm in enumerate(names):
        gains = np.subtract(arms[arm]["values"], arms[ONE]["values"])
        dots(right, place, gains, COLOURS[3 if arm == REAL else 2])
    right.set_xticks(range(len(names)), names.values())
    right.axhline(0, color="#595959", lw=1)
    right.set(ylabel="Gain over 1 training (points)")
    right.set_title("At the price of 1 training, the last at that of 5", size=10)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        ONE: lambda seed: curve("mean", seed, [1])[0],
        SHORT: lambda seed: merged(several(seed, FEW, SHORTER, EPOCHS // FEW), seed),
        SNAPSHOTS: lambda seed: merged(train(seed, CYCLES, EPOCHS, FEW), seed),
        SOUP: soup,
        BRANCHES: lambda seed: merged(branches(seed), seed),
        REAL: lambda seed: curve("mean", seed, [FEW])[0],
        **{arm: functools.partial(ten, merge) for merge, arm in TEN.items()},
    },
    baseline=ONE,
    measure="Test accuracy on digits (%)",
    decide=decide,
    seeds=tuple(range(10)),
    setting=f"{TRAIN} digits to train on; one price is {EPOCHS} epochs",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
