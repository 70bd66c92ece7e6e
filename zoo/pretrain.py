"""Pretrains GlyphNet on rendered letters: the script behind the shipped weights.

    python -m hornbook.zoo.pretrain letters_rgb --out build/letters_rgb

It builds `hornbook_glyphs` on the first run. In colour, each epoch lays the glyphs over
new procedural backgrounds. The card beside the weights gives the time and the accuracy.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np

from hornbook.recipes.data.seeded_batches import SeededBatches
from hornbook.zoo.data.backgrounds import lay_over, procedural_background
from hornbook.zoo.data.crops import random_crops
from hornbook.zoo.glyphnet import glyphnet

CROP = 32
BACKGROUNDS, BACKGROUND_SIZE = 6_000, 96
EPOCHS = {"letters_grey": 12, "letters_rgb": 20}
BATCH_SIZE, RATE, WEIGHT_DECAY, SEED = 128, 4e-3, 2e-3, 0


def over_backgrounds(ink, backgrounds, rng):
    """Lays each glyph over a random square of a random background, turned at random."""
    chosen = backgrounds[rng.integers(len(backgrounds), size=len(ink))]
    squares = random_crops(chosen, rng, ink.shape[1])
    if rng.random() < 0.5:
        squares = squares.swapaxes(1, 2)
    if rng.random() < 0.5:
        squares = squares[:, ::-1]
    return lay_over(ink[..., 0], squares[..., rng.permutation(3)], rng)


def load_glyphs(split):
    """`(images, labels, names)` of `hornbook_glyphs/grey`."""
    import tensorflow_datasets as tfds

    import hornbook.zoo.data.hornbook_glyphs  # noqa: F401  (registers the builder)

    data, info = tfds.load(
        "hornbook_glyphs/grey", split=split, batch_size=-1, with_info=True
    )
    data = tfds.as_numpy(data)
    return data["image"], data["label"], info.features["label"].names


def pretrain(tag, epochs, steps_per_epoch=None, seed=SEED):
    """Trains a backbone and a throw-away head.

    Args:
        tag: "letters_grey" or "letters_rgb".
        epochs: Passes over the glyphs.
        steps_per_epoch: For a shorter pass; None for all.
        seed: For the weights and the batches.

    Returns:
        `(backbone, history)`: the model without its head, and one dict an epoch.
    """
    keras.utils.set_random_seed(seed)
    images, labels, names = load_glyphs("train")
    held_images, held_labels, _ = load_glyphs("validation")
    channels = 1
    transform = random_crops
    if tag == "letters_rgb":
        channels = 3
        rng = np.random.default_rng(seed)
        backgrounds = np.stack(
            [procedural_background(rng, BACKGROUND_SIZE) for _ in range(BACKGROUNDS)]
        )
        # Validation glyphs lie over backgrounds of their own.
        rng = np.random.default_rng([seed, 1])
        held = [procedural_background(rng, BACKGROUND_SIZE) for _ in range(1_000)]
        held_images = over_backgrounds(held_images, np.stack(held), rng)

        def transform(ink, rng):
            return random_crops(over_backgrounds(ink, backgrounds, rng), rng)

    edge = (held_images.shape[1] - CROP) // 2
    held_images = held_images[:, edge : edge + CROP, edge : edge + CROP]
    batches = SeededBatches(
        images, labels, BATCH_SIZE, seed, transform=transform, steps=steps_per_epoch
    )

    backbone = glyphnet((CROP, CROP, channels))
    head = [keras.layers.Dropout(0.1), keras.layers.Dense(len(names), "softmax")]
    model = keras.Sequential([backbone.input, backbone, *head])
    steps = len(batches) * epochs
    schedule = keras.optimizers.schedules.CosineDecay(
        RATE / 10, steps, warmup_target=RATE, warmup_steps=steps // 20
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    model.compile(
        optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    history = model.fit(
        batches,
        epochs=epochs,
        shuffle=False,
        validation_data=(held_images, held_labels),
        validation_batch_size=500,
        verbose=2,
    ).history
    return backbone, history


def main():
    """Trains, writes the weights in float16, and prints what the card records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tag", choices=sorted(EPOCHS))
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--epochs", type=int, help="default: as the card says")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()

    start = time.perf_counter()
    epochs = arguments.epochs or EPOCHS[arguments.tag]
    backbone, history = pretrain(arguments.tag, epochs, seed=arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    record = {
        "seconds": round(time.perf_counter() - start),
        "validation_accuracy": round(history["val_accuracy"][-1], 4),
        "epochs": epochs,
        "seed": arguments.seed,
    }
    backbone.save_weights(arguments.out / "float32.weights.h5")
    (arguments.out / "history.json").write_text(json.dumps(history, indent=1))
    (arguments.out / "record.json").write_text(json.dumps(record, indent=1))
    print(json.dumps(record))


if __name__ == "__main__":
    main()
