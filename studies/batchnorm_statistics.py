"""Exact statistics of the training set at test time, against running averages.

Claim:   at test time the mean and variance are those of the whole training set; where
         that costs too much, an estimate of them will do.
Source:  Ioffe and Szegedy, ICML 2015, arXiv 1502.03167, algorithm 2, where both are;
         the study notes (docs/site/notes.toml), section "batch normalization".
Data:    scikit-learn's digits, 700 to train on, 500 to test; 64-128-128-10, batch
         normalisation and ReLU after each hidden layer, Adam at 1e-3 in batches of 4
         and of 32; tested after 20, 100 and 500 steps. Running averages are those of
         Keras; the exact ones are set by recalibrate_batchnorm.
Rule:    by test accuracy, six signs: in each of the six places the 95 % interval of the
         difference of the running averages (momentum 0.99, the default) to the exact
         ones lies above -1 point. Holds, if all; partly, if some; not here, if none.
Change:  averaged weights, which no running average belongs to; other data at test.
Command: python studies/batchnorm_statistics.py
Writes:  docs/studies/batchnorm_statistics.json and .png
"""

import functools
import itertools

import keras
import numpy as np
from harness import Study, by_signs, summarise
from mlp import digits
from pictures import groups, legend_below, panels
from scipy.special import log_softmax

from hornbook.recipes.inference.recalibrate_batchnorm import recalibrate_batchnorm

COUNT, BATCHES, STEPS = 700, (4, 32), (20, 100, 500)
MOMENTA = {"running, momentum 0.99": 0.99, "running, momentum 0.9": 0.9}
EXACT = "exact"
KINDS = (EXACT, *MOMENTA)


def build(momentum):
    """A compiled net."""
    model = keras.Sequential([keras.Input((64,))])
    for _ in range(2):
        model.add(keras.layers.Dense(128, kernel_initializer="he_normal"))
        model.add(keras.layers.BatchNormalization(momentum=momentum))
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, steps_per_execution=20)
    return model


def variances(model):
    """Of the second normalisation, what it has for test time."""
    return keras.ops.convert_to_numpy(model.layers[4].moving_variance)


def tested(model, test_x, test_y):
    """Test accuracy in % and loss in nats."""
    logits = np.asarray(model.predict_on_batch(test_x), float)
    losses = -log_softmax(logits, axis=1)[np.arange(len(test_y)), test_y]
    return 100 * np.mean(logits.argmax(axis=1) == test_y), losses.mean()


@functools.cache
def training(momentum, batch, seed):
    """By steps: what the running averages give, and the exact statistics."""
    x, y, test_x, test_y = digits(seed, train=COUNT)
    rng = np.random.default_rng(seed)
    epochs = -(-STEPS[-1] * batch // COUNT)
    order = np.concatenate([rng.permutation(COUNT) for _ in range(epochs)])
    keras.utils.set_random_seed(seed)
    model, found = build(momentum), {}
    for start, end in itertools.pairwise((0, *STEPS)):
        part = order[start * batch : end * batch]
        model.fit(x[part], y[part], batch_size=batch, shuffle=False, verbose=0)
        weights = model.get_weights()
        running, estimate = tested(model, test_x, test_y), variances(model)
        recalibrate_batchnorm(model, x)
        ratio = np.median(estimate / variances(model))
        found[end] = {
            "running": (*running, ratio),
            EXACT: (*tested(model, test_x, test_y), 1.0),
        }
        model.set_weights(weights)
    keras.utils.clear_session()  # else the graphs of all trainings stay in memory
    return found


def arm(kind, batch, steps, seed):
    """Test accuracy in %; the loss, and the estimated variance over the exact one."""
    found = training(MOMENTA.get(kind, 0.99), batch, seed)[steps]
    accuracy, loss, ratio = found[EXACT if kind == EXACT else "running"]
    return accuracy, {"loss": round(float(loss), 4), "ratio": round(float(ratio), 3)}


def name(kind, batch, steps):
    """Of an arm."""
    return f"{kind}, batches of {batch}, {steps} steps"


def of(arms, key, *which):
    """The mean of a detail of an arm."""
    return np.mean([each[key] for each in arms[name(*which)]["details"]])


def decide(arms):
    """The rule of the header."""
    signs, told = [], []
    default = next(iter(MOMENTA))
    for batch in BATCHES:
        for steps in STEPS:
            pair = [arms[name(k, batch, steps)]["values"] for k in (default, EXACT)]
            row = {"difference": 0.0, "interval": (0.0, 0.0)} | summarise(*pair)
            low, high = row["interval"]
            signs.append(low > -1)
            told.append(
                f"after {steps} steps of {batch} {row['difference']:+.1f} ({low:+.1f} "
                f"to {high:+.1f}), their variance "
                f"{of(arms, 'ratio', default, batch, steps):.2f} times the exact one"
            )
    return by_signs(signs), (
        f"Points that Keras's running averages bring over the exact statistics: "
        f"{'; '.join(told)}."
    )


def picture(result):
    """What the running averages bring, and how far off their variances are."""
    arms, seeds = result["arms"], len(result["seeds"])
    figure, axes = panels(3, width=4.3, height=3.9)
    for panel, batch in zip(axes, BATCHES, strict=False):
        table = {
            kind: [
                np.subtract(*(arms[name(k, batch, n)]["values"] for k in (kind, EXACT)))
                for n in STEPS
            ]
            for kind in MOMENTA
        }
        groups(panel, STEPS, table)
        panel.set_ylabel("Test accuracy over exact statistics (points)", size=9)
        panel.set_title(f"batches of {batch}, {seeds} seeds, mean ± sd", size=10)
        panel.axhline(0, color="#595959", lw=1)
    table = {
        kind: [
            [each["ratio"] for each in arms[name(kind, BATCHES[0], n)]["details"]]
            for n in STEPS
        ]
        for kind in MOMENTA
    }
    groups(axes[2], STEPS, table)
    axes[2].set_ylabel("Variance of the second layer / exact")
    axes[2].set_title(f"batches of {BATCHES[0]}, median unit, mean ± sd", size=10)
    axes[2].axhline(1, color="#595959", lw=1)
    for panel in axes:
        panel.set_xlabel("Steps of training")
    legend_below(figure, axes[0], columns=2)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(kind, batch, steps): functools.partial(arm, kind, batch, steps)
        for batch in BATCHES
        for steps in STEPS
        for kind in KINDS
    },
    baseline=name(EXACT, BATCHES[-1], STEPS[-1]),
    measure="Test accuracy on digits (%)",
    decide=decide,
    seeds=tuple(range(8)),
    setting=f"{COUNT} digits to train on, Adam at 1e-3, two normalisation layers",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
