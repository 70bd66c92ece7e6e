"""Maxout against ReLU, with as many units and with as many parameters.

Claim:   Maxout has all the advantages of ReLU, of which it is a generalisation; the
         price is several times the parameters.
Source:  Goodfellow et al., "Maxout Networks", ICML 2013, arXiv 1302.4389; the study
         notes (docs/site/notes.toml), section "Maxout".
Data:    scikit-learn's digits: 100 or 1,000 to train on, 297 to choose on, 500 to test;
         two hidden layers, without dropout and with 0.5 after each; Adam, 300 steps of
         50. Two pieces a unit. Kernels of variance 2 / fan-in for ReLU, 1 / fan-in for
         Maxout, which keep the mean square. Each cell trains at 3e-3 and at 1e-2, and
         takes the rate with the better accuracy on the 297.
Rule:    by test accuracy, the mean over the two sizes, four signs: Maxout beats ReLU
         with p < 0.05, (1) with as many units and (2) with as many parameters, each
         without and with dropout. Holds, if all; partly, if some; not here, if none.
Change:  more pieces; convolutions; inputs that are harder to tell apart.
Command: python studies/maxout_or_relu.py
Writes:  docs/studies/maxout_or_relu.json and .png
"""

import functools

import keras
import numpy as np
from harness import Study, by_signs, lead, summarise
from mlp import digits
from pictures import COLOURS, groups, legend_below, panels
from small_nets import renew

from hornbook.recipes.layers.maxout import Maxout

SIZES, RATES = (100, 1000), (3e-3, 1e-2)
TO_CHOOSE, BATCH, STEPS = 297, 50, 300
RELU, UNITS, PARAMETERS = "ReLU", "Maxout, as many units", "Maxout, as many parameters"
WIDTHS = {RELU: 64, UNITS: 64, PARAMETERS: 40}
DROPS = {"no dropout": 0.0, "dropout 0.5": 0.5}


def build(kind, drop, rate):
    """The net of a kind, compiled."""
    model = keras.Sequential([keras.Input((64,))])
    for _ in range(2):
        if kind == RELU:
            model.add(keras.layers.Dense(WIDTHS[kind], "relu", True, "he_normal"))
        else:
            model.add(Maxout(WIDTHS[kind], kernel_initializer="lecun_normal"))
        if drop:
            model.add(keras.layers.Dropout(drop))
    model.add(keras.layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, steps_per_execution=50)
    return model


traced = functools.cache(functools.partial(build, rate=RATES[0]))


def arm(kind, drop, size, seed):
    """Test accuracy in %; the rate that was chosen, and the parameters."""
    x, y, test_x, test_y = digits(seed, train=1000 + TO_CHOOSE)
    rng = np.random.default_rng(seed)
    epochs = -(-STEPS * BATCH // size)
    order = np.concatenate([rng.permutation(size) for _ in range(epochs)])
    order = order[: STEPS * BATCH]
    found = {}
    for rate in RATES:
        model = traced(kind, drop)
        keras.utils.set_random_seed(seed)
        renew(model, build(kind, drop, rate))
        model.fit(x[order], y[order], batch_size=BATCH, shuffle=False, verbose=0)
        seen = np.concatenate([x[1000:], test_x])
        guesses = np.argmax(model.predict_on_batch(seen), axis=1)
        right = guesses == np.concatenate([y[1000:], test_y])
        found[rate] = right[:TO_CHOOSE].mean(), right[TO_CHOOSE:].mean()
    best = max(RATES, key=lambda rate: found[rate][0])
    details = {"rate": best, "parameters": model.count_params()}
    return 100 * found[best][1], details


def name(kind, drop, size):
    """Of an arm."""
    return f"{kind}, {drop}, {size} examples"


def over_sizes(arms, kind, drop):
    """The mean over the sizes, by seed."""
    rows = [arms[name(kind, drop, size)]["values"] for size in SIZES]
    return np.mean(rows, axis=0)


def decide(arms):
    """The rule of the header."""
    signs, told = [], []
    for drop in DROPS:
        relu = over_sizes(arms, RELU, drop)
        for kind in (UNITS, PARAMETERS):
            row = summarise(over_sizes(arms, kind, drop), relu)
            by, p = row.get("difference", 0.0), row.get("p", 1.0)
            signs.append(by > 0 and p < 0.05)
            sizes = ", ".join(
                f"{lead(arms, name(kind, drop, size), name(RELU, drop, size))[0]:+.1f} "
                f"at {size:,}"
                for size in SIZES
            )
            told.append(f"{kind[8:]}, {drop}, {by:+.2f} points (p = {p:.2g}; {sizes})")
    counts = [
        arms[name(kind, "no dropout", SIZES[0])]["details"][0]["parameters"]
        for kind in WIDTHS
    ]
    return by_signs(signs), (
        f"ReLU has {counts[0]:,} parameters, Maxout {counts[1]:,} with as many units "
        f"and {counts[2]:,} with {WIDTHS[PARAMETERS]} units for {WIDTHS[RELU]}. Maxout "
        f"over ReLU: {'; '.join(told)}."
    )


def picture(result):
    """Accuracy without and with dropout, a panel a size."""
    arms = result["arms"]
    figure, axes = panels(2, width=4.8, height=3.9)
    for panel, size in zip(axes, SIZES, strict=True):
        table = {}
        for kind in WIDTHS:
            rows = [arms[name(kind, drop, size)] for drop in DROPS]
            count = rows[0]["details"][0]["parameters"]
            table[f"{kind} ({count:,} weights)"] = [row["values"] for row in rows]
        groups(panel, list(DROPS), table, COLOURS)
        panel.set_ylabel("Test accuracy (%)")
        seeds = len(result["seeds"])
        panel.set_title(f"{size:,} digits, {seeds} seeds, mean ± sd", size=10)
    legend_below(figure, axes[0], columns=3)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(kind, drop, size): functools.partial(arm, kind, rate, size)
        for size in SIZES
        for drop, rate in DROPS.items()
        for kind in WIDTHS
    },
    baseline=name(RELU, "no dropout", SIZES[-1]),
    measure="Test accuracy on digits (%)",
    decide=decide,
    seeds=tuple(range(10)),
    setting=f"two hidden layers, Adam, {STEPS} steps of {BATCH}",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
