"""What each preset of ImageAugmentation brings where there is little to train on.

Claim:   changed copies of the training pictures make more of little data; which changes
         help depends on the data, and mirror images do not help with digits.
Source:  Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural
         Networks", NeurIPS 2012; the study notes (docs/site/notes.toml), section "data
         augmentation".
Data:    the embedded digits, grey and over photographs, at 24×24 pixels in colour; 20
         labels a class to train on, all 1,000 test digits. A convolutional net from
         scratch, Adam along a cosine from 3e-3, 480 batches of 25. A preset shows each
         picture 60 times, each time changed; "none" shows it as it is.
Rule:    four signs, two for each of the two sets, by test accuracy: the preset "digits"
         beats none; each preset with mirror images falls below "digits". All with p <
         0.05. Holds, if all; partly, if some; not here, if none.
Change:  pictures whose mirror images are of the same class; a net that was pretrained,
         as in augmentation_ladder, where "digits" brings nothing over random crops.
Command: python studies/augmentation_presets.py
Writes:  docs/studies/augmentation_presets.json and .png
"""

import functools

import keras
import numpy as np
from harness import Study, by_signs, is_quick, lead
from pictures import COLOURS, dots, panels
from small_nets import renew

from hornbook.recipes.augmentation.image_augmentation import ImageAugmentation
from hornbook.zoo.data.arrays.few_labels import draw_few
from hornbook.zoo.data.dataset import read_source

SETS = {"grey": "tfds:hornbook_digits", "photo": "tfds:hornbook_photo_digits"}
SIZE, LABELS, BATCH, RATE = 24, 20, 25, 3e-3
EPOCHS = 8 if is_quick() else 60
NONE, DIGITS, MIRRORED = "none", "digits", ("light", "strong", "imagenet_train")
UNMIRRORED = "light, not mirrored"
PRESETS = {
    NONE: None,
    DIGITS: {},
    "light": {},
    UNMIRRORED: {"horizontal_flip": 0},
    "strong": {},
    "imagenet_train": {},
}


@functools.cache
def splits(kind):
    """The splits of a set, read once."""
    return read_source(SETS[kind], size=SIZE, channels=3).splits


@functools.cache
def augmentation(preset):
    """The layer of a preset, compiled once; none for none."""
    if PRESETS[preset] is None:
        return None
    options = {"height": SIZE, "width": SIZE, **PRESETS[preset]}
    return ImageAugmentation.from_preset(preset.split(",")[0], **options)


def build(seed=0):
    """A small convolutional net, compiled."""
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3))])
    model.add(keras.layers.Rescaling(1 / 255))
    for layer, filters in enumerate((16, 32, 64)):
        kernels = keras.initializers.HeNormal(10 * seed + layer)
        options = {"padding": "same", "kernel_initializer": kernels, "use_bias": False}
        model.add(keras.layers.Conv2D(filters, 3, **options))
        model.add(keras.layers.BatchNormalization(momentum=0.9))
        model.add(keras.layers.ReLU())
        model.add(keras.layers.MaxPooling2D())
    model.add(keras.layers.Flatten())
    kernels = keras.initializers.GlorotUniform(10 * seed + 3)
    model.add(keras.layers.Dense(10, kernel_initializer=kernels))
    rate = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * 10 * LABELS // BATCH)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, steps_per_execution=20)
    return model


traced = functools.cache(build)


def views(preset, images, rng):
    """The pictures of an epoch."""
    layer = augmentation(preset)
    if layer is None:
        return images.astype("float32")
    draws = rng.random((len(images), layer.DRAWS), dtype="float32")
    return keras.ops.convert_to_numpy(layer(images, training=True, draws=draws))


def arm(kind, preset, seed):
    """Test accuracy in %; that on the pictures to train on, as they are."""
    pool, test = splits(kind)["train"], splits(kind)["test"]
    train = pool.take(draw_few(pool.labels, LABELS, seed))
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(train)) for _ in range(EPOCHS)]
    x = np.concatenate([views(preset, train.images[order], rng) for order in orders])
    y = train.labels[np.concatenate(orders)]
    model = renew(traced(), build(seed))
    model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    tested, trained = (
        100
        * np.mean(model.predict(part.images, 200, verbose=0).argmax(1) == part.labels)
        for part in (test, train)
    )
    return tested, {"training": round(float(trained), 1)}


def name(kind, preset):
    """Of an arm."""
    return f"{kind} digits: {preset}"


def decide(arms):
    """The rule of the header."""
    signs, told = [], []
    for kind in SETS:
        over = {
            preset: lead(arms, name(kind, preset), name(kind, NONE))
            for preset in PRESETS
        }
        below = [lead(arms, name(kind, each), name(kind, DIGITS)) for each in MIRRORED]
        by, p = over[DIGITS]
        signs += [by > 0 and p < 0.05, all(by < 0 and p < 0.05 for by, p in below)]
        told.append(
            f"On {kind} digits over none, {arms[name(kind, NONE)]['mean']:.1f} %: "
            + "; ".join(
                f"{preset} {by:+.1f} (p = {p:.2g})"
                for preset, (by, p) in over.items()
                if preset != NONE
            )
        )
    return by_signs(signs), ". ".join(told) + "."


def picture(result):
    """Accuracy by preset, and a few views of each."""
    arms = result["arms"]
    figure, grid = panels(2, width=4.9, height=3.6)
    for axes, kind in zip(grid, SETS, strict=True):
        for place, preset in enumerate(PRESETS):
            dots(axes, place, arms[name(kind, preset)]["values"], COLOURS[place])
        labels = [preset.replace(", ", ",\n") for preset in PRESETS]
        axes.set_xticks(range(len(PRESETS)), labels, rotation=30, ha="right")
        axes.set_ylabel("Test accuracy (%)")
        seeds = f"{len(result['seeds'])} seeds, mean ± sd"
        axes.set_title(f"{kind} digits, {LABELS} a class; {seeds}", size=10)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(kind, preset): functools.partial(arm, kind, preset)
        for kind in SETS
        for preset in PRESETS
    },
    baseline=name("photo", NONE),
    measure="Test accuracy on digits (%)",
    decide=decide,
    seeds=tuple(range(10)),
    setting=f"{LABELS} labels a class, a net from scratch, {EPOCHS} epochs",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
