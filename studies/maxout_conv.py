"""Maxout against ReLU in convolutions, with as many filters and as many parameters.

Claim:   Maxout in place of ReLU fits more and generalises better, in convolutions too.
Source:  Goodfellow et al., "Maxout Networks", ICML 2013, arXiv 1302.4389, section 5;
         the study notes (docs/site/notes.toml), section "Maxout".
Data:    the embedded digits over photographs, 28×28 pixels; 40 labels a class to train
         on, in random crops of 24, and 197 of the rest of the pool to choose by; all
         1,000 test digits, at their centre crops. Three blocks of a convolution, its
         largest in 2×2 and dropout of 0.2, from scratch; Adam along a cosine, 480
         batches of 25. Two pieces a filter. Kernels as in maxout_or_relu. The best of
         three rates by the 197.
Rule:    by test accuracy, two signs: Maxout beats ReLU with p < 0.05, with as many
         filters and with as many parameters. Holds, if both; partly, if one; not here,
         if none.
Change:  more labels, deeper nets; BatchNormalization, which bounds what is fitted.
Command: python studies/maxout_conv.py
Writes:  docs/studies/maxout_conv.json and .png
"""

import functools

import keras
import numpy as np
from harness import Study, by_signs, is_quick, lead
from small_nets import renew

from hornbook.recipes.layers.maxout_conv2d import MaxoutConv2D
from hornbook.zoo.data.arrays.crops import centre_crops, random_crops
from hornbook.zoo.data.arrays.few_labels import draw_few
from hornbook.zoo.data.dataset import read_source

DATA, WHOLE, SIZE, LABELS, TO_CHOOSE = "tfds:hornbook_photo_digits", 28, 24, 40, 197
EPOCHS, BATCH, RATES = 30, 25, (1e-3, 3e-3, 1e-2)
if is_quick():
    EPOCHS, RATES = 6, RATES[-1:]
RELU, FILTERS, PARAMETERS = "ReLU", "Maxout, as many filters", "Maxout, as many weights"
WIDTHS = {RELU: (16, 32, 64), FILTERS: (16, 32, 64), PARAMETERS: (12, 23, 44)}


def build(kind, rate, seed=0):
    """The net of a kind, compiled."""
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3))])
    model.add(keras.layers.Rescaling(1 / 127.5, offset=-1))
    for layer, filters in enumerate(WIDTHS[kind]):
        scale = 2 if kind == RELU else 1
        kernels = keras.initializers.VarianceScaling(
            scale, "fan_in", "truncated_normal", seed=10 * seed + layer
        )
        make = keras.layers.Conv2D if kind == RELU else MaxoutConv2D
        options = {"activation": "relu"} if kind == RELU else {}
        options |= {"padding": "same", "kernel_initializer": kernels}
        model.add(make(filters, 3, **options))
        model.add(keras.layers.MaxPooling2D())
        model.add(keras.layers.Dropout(0.2, seed=seed))
    model.add(keras.layers.Flatten())
    kernels = keras.initializers.GlorotUniform(10 * seed + 3)
    model.add(keras.layers.Dense(10, kernel_initializer=kernels))
    steps = EPOCHS * 10 * LABELS // BATCH
    rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, steps_per_execution=20)
    return model


traced = functools.cache(build)


@functools.cache
def splits():
    """The splits, read once."""
    return read_source(DATA, size=WHOLE, channels=3).splits


def arm(kind, seed):
    """Test accuracy in %; the rate that was chosen, and the parameters."""
    pool, test = splits()["train"], splits()["test"]
    few = draw_few(pool.labels, LABELS, seed)
    rng = np.random.default_rng(seed)
    rest = rng.permutation(np.setdiff1d(np.arange(len(pool)), few))[:TO_CHOOSE]
    orders = [rng.permutation(few) for _ in range(EPOCHS)]
    x = np.concatenate([random_crops(pool.images[each], rng, SIZE) for each in orders])
    y = pool.labels[np.concatenate(orders)]
    found = {}
    for rate in RATES:
        # The schedule is traced with the net, so each rate has its own.
        model = renew(traced(kind, rate), build(kind, rate, seed))
        model.fit(x, y, BATCH, shuffle=False, verbose=0)
        found[rate] = [
            100 * float(np.mean(_guess(model, images) == labels))
            for images, labels in (
                (pool.images[rest], pool.labels[rest]),
                (test.images, test.labels),
            )
        ]
    best = max(RATES, key=lambda rate: found[rate][0])
    return found[best][1], {"rate": best, "parameters": model.count_params()}


def _guess(model, images):
    return model.predict(centre_crops(images, SIZE), 200, verbose=0).argmax(1)


def decide(arms):
    """The rule of the header."""
    leads = {kind: lead(arms, kind, RELU) for kind in (FILTERS, PARAMETERS)}
    counts = [arms[kind]["details"][0]["parameters"] for kind in WIDTHS]
    told = (f"{kind} {by:+.1f} points (p = {p:.2g})" for kind, (by, p) in leads.items())
    return by_signs([by > 0 and p < 0.05 for by, p in leads.values()]), (
        f"Over ReLU, {arms[RELU]['mean']:.1f} %: {'; '.join(told)}. They have "
        f"{counts[0]:,}, {counts[1]:,} and {counts[2]:,} parameters."
    )


STUDY = Study(
    file=__file__,
    arms={kind: functools.partial(arm, kind) for kind in WIDTHS},
    baseline=RELU,
    measure="Test accuracy on digits over photographs (%)",
    decide=decide,
    seeds=tuple(range(10)),
    setting=f"{LABELS} labels a class, a net from scratch, the best of three rates",
)

if __name__ == "__main__":
    STUDY.main()
