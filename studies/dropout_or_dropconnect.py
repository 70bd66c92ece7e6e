"""Dropout, DropConnect or both, by how many digits there are to train on.

Claim:   DropConnect sets weights to zero where Dropout does so to outputs, and does
         much the same: both hold back overfitting, and so the more, the less there is
         to train on.
Source:  Wan et al., "Regularization of Neural Networks using DropConnect", ICML 2013;
         Hinton et al., "Improving neural networks by preventing co-adaptation of
         feature detectors", arXiv 1207.0580; the study notes (docs/site/notes.toml),
         section "dropout".
Data:    scikit-learn's digits: 50, 200 or 1,000 to train on, 797 to test on.
         64-128-128-10, ReLU, Adam, 800 batches of 25 at any size, the rate falling from
         2e-3 to 0 along a cosine. Both hidden layers are wrapped in the recipe
         DropConnect, with a mask an example as in the paper or one a batch, or followed
         by Dropout, each at 0.36; or both, each at 0.2, so that as much passes: 0.8 of
         0.8 is 0.64.
Rule:    four signs, by test accuracy. Over the three sizes together (1) Dropout and (2)
         DropConnect, a mask an example, beat neither. (3) The mean gain of these two is
         larger at 50 digits than at 1,000. (4) At each size they lie within a point of
         each other, by the interval of 95 %. (1) to (3) with p < 0.05. Holds, if all;
         partly, if some; not here, if none.
Change:  nets that are wide for their data, without anything else that regularises;
         more steps, since noise slows training.
Command: python studies/dropout_or_dropconnect.py
Writes:  docs/studies/dropout_or_dropconnect.json and .png
"""

import functools

import keras
import numpy as np
from harness import Study, by_signs, lead, summarise
from mlp import digits
from pictures import COLOURS, groups, legend_below, panels
from scipy.special import log_softmax
from small_nets import renew

from hornbook.recipes.layers.drop_connect import DropConnect

SIZES, STEPS, BATCH, DROP = (50, 200, 1000), 800, 25, 0.36
NEITHER, DROPOUT, CONNECT = "neither", "Dropout", "DropConnect, a mask an example"
SHARED, BOTH = "DropConnect, a mask a batch", "Dropout and DropConnect"
KINDS = (NEITHER, DROPOUT, CONNECT, SHARED, BOTH)


def build(kind, seed=0):
    """A net, compiled."""
    drop = 1 - (1 - DROP) ** 0.5 if kind == BOTH else DROP
    model = keras.Sequential([keras.Input((64,))])
    for layer in range(2):
        own = 10 * seed + layer
        start = keras.initializers.HeNormal(own)
        dense = keras.layers.Dense(128, "relu", kernel_initializer=start)
        if kind in (CONNECT, SHARED, BOTH):
            dense = DropConnect(dense, drop, per_example=kind != SHARED, seed=own)
        model.add(dense)
        if kind in (DROPOUT, BOTH):
            model.add(keras.layers.Dropout(drop, seed=own + 5))
    start = keras.initializers.GlorotUniform(10 * seed + 2)
    model.add(keras.layers.Dense(10, kernel_initializer=start))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, STEPS)
    model.compile(keras.optimizers.Adam(rate), loss, steps_per_execution=50)
    return model


traced = functools.cache(build)  # to trace a net takes longer than to train it


def trained(kind, x, y, seed):
    """A net after its steps, epoch for epoch in another order."""
    model, rng = renew(traced(kind), build(kind, seed)), np.random.default_rng(seed)
    epochs = STEPS * BATCH // len(x)
    order = np.concatenate([rng.permutation(len(x)) for _ in range(epochs)])
    model.fit(x[order], y[order], batch_size=BATCH, shuffle=False, verbose=0)
    return model


def arm(size, kind, seed):
    """Test accuracy in %; the loss."""
    x, y, test_x, test_y = digits(seed, train=size, test=797)
    logits = trained(kind, x, y, seed).predict(test_x, 797, verbose=0)
    loss = -log_softmax(logits, axis=1)[np.arange(797), test_y].mean()
    accuracy = 100 * np.mean(logits.argmax(axis=1) == test_y)
    return accuracy, {"loss": round(float(loss), 4)}


def name(size, kind):
    """Of an arm."""
    return f"{size} digits: {kind}"


def gains(arms, kind):
    """Over neither: an array of sizes by seeds."""
    values = [
        [arms[name(size, each)]["values"] for size in SIZES] for each in (kind, NEITHER)
    ]
    return np.subtract(*values)


def decide(arms):
    """The rule of the header."""
    by_kind = {kind: gains(arms, kind) for kind in KINDS[1:]}
    dropout, connect = by_kind[DROPOUT], by_kind[CONNECT]
    rows = [summarise(g.mean(axis=0), 0 * g[0]) for g in (dropout, connect)]
    few = summarise(*((dropout + connect)[[0, -1]] / 2))
    apart = [summarise(*pair) for pair in zip(connect, dropout, strict=True)]
    ends = [end for row in apart for end in row.get("interval", (0, 0))]
    signs = (
        *(row["mean"] > 0 and row["p"] < 0.05 for row in rows),
        few["difference"] > 0 and few["p"] < 0.05,
        max(np.abs(ends)) <= 1,
    )
    told = "; ".join(
        f"{kind} {' / '.join(f'{each:+.1f}' for each in gain.mean(axis=1))}"
        for kind, gain in by_kind.items()
    )
    by, p = lead(arms, name(SIZES[-1], CONNECT), name(SIZES[-1], NEITHER))
    return by_signs(signs), (
        f"Points over neither at {' / '.join(map(str, SIZES))} digits: {told}. Over "
        f"all sizes Dropout brings {rows[0]['mean']:+.1f} (p = {rows[0]['p']:.2g}) and "
        f"DropConnect, a mask an example, {rows[1]['mean']:+.1f} (p = "
        f"{rows[1]['p']:.2g}), though at {SIZES[-1]} digits {by:+.1f} (p = {p:.2g}). "
        f"The mean of their gains is {few['difference']:+.1f} larger at {SIZES[0]} "
        f"digits than at {SIZES[-1]} (p = {few['p']:.2g}). From Dropout DropConnect "
        f"differs by {min(ends):+.1f} to {max(ends):+.1f}, intervals of 95 %."
    )


def picture(result):
    """Accuracy by size, and what each way brings over neither."""
    arms = result["arms"]
    figure, (left, right) = panels(2, width=4.9, height=4)
    names = [f"{size:,}" for size in SIZES]
    table = {k: [arms[name(size, k)]["values"] for size in SIZES] for k in KINDS}
    groups(left, names, table)
    over = {k: gains(arms, k).tolist() for k in KINDS[1:]}
    groups(right, names, over, COLOURS[1:])
    right.axhline(0, color="#595959", lw=1)
    left.set(xlabel="Digits to train on", ylabel="Test accuracy (%)")
    right.set(xlabel="Digits to train on", ylabel="Gain over neither (points)")
    figure.suptitle(f"{len(result['seeds'])} seeds, mean ± sd", size=10)
    legend_below(figure, left, columns=3)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(size, kind): functools.partial(arm, size, kind)
        for size in SIZES
        for kind in KINDS
    },
    baseline=name(200, NEITHER),
    measure="Test accuracy on digits (%)",
    decide=decide,
    seeds=tuple(range(15)),
    setting=f"64-128-128-10, {STEPS} batches of {BATCH}",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
