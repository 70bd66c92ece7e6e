"""Pretrains our backbones on rendered letters, for the shipped weights.

    python -m hornbook.zoo.pretrain letters_rgb --out zoo
    python -m hornbook.zoo.pretrain letters_rgb --architecture glyphnet_small --out zoo

The first run builds `hornbook_glyphs`. The weights are written with their card. In
colour, the glyphs of each epoch are drawn over new procedural backgrounds.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hornbook.files import atomic_write, sha256, write_json
from hornbook.recipes.data.seeded_batches import SeededBatches
from hornbook.zoo.backbones.shipped import build_native
from hornbook.zoo.data.arrays.crops import centre_crops, random_crops
from hornbook.zoo.data.builders.backgrounds import lay_over, procedural_background
from hornbook.zoo.data.builders.glyph_rendering import glyph_classes

CROP = 32
BACKGROUNDS, BACKGROUND_SIZE = 6_000, 96
TAGS = ("letters_grey", "letters_rgb")
EPOCHS = {
    "glyphnet": {"letters_grey": 12, "letters_rgb": 20},
    "glyphnet_small": {"letters_grey": 8, "letters_rgb": 8},
    "resnet20": {"letters_rgb": 5},
}
BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY, SEED = 128, 4e-3, 2e-3, 0


def over_backgrounds(
    ink: np.ndarray, backgrounds: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draws each glyph over a random square of a random background."""
    chosen = backgrounds[rng.integers(len(backgrounds), size=len(ink))]
    squares = random_crops(chosen, rng, ink.shape[1])
    if rng.random() < 0.5:
        squares = squares.swapaxes(1, 2)
    if rng.random() < 0.5:
        squares = squares[:, ::-1]
    return lay_over(ink[..., 0], squares[..., rng.permutation(3)], rng)


def load_glyphs(split: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """`(images, labels, names)` of `hornbook_glyphs/grey`."""
    import tensorflow_datasets as tfds

    import hornbook.zoo.data.builders.hornbook_glyphs  # noqa: F401  (registers the builder)

    data, info = tfds.load(
        "hornbook_glyphs/grey", split=split, batch_size=-1, with_info=True
    )
    data = tfds.as_numpy(data)
    return data["image"], data["label"], info.features["label"].names


def pretrain(
    tag: str,
    epochs: int,
    steps_per_epoch: int | None = None,
    seed: int = SEED,
    architecture: str = "glyphnet",
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Trains a backbone with a temporary head.

    Args:
        tag: "letters_grey" or "letters_rgb".
        epochs: Number of passes over the glyphs.
        steps_per_epoch: Number of steps in a shorter pass. Defaults to all.
        seed: Random seed of the weights and the batches.
        architecture: A key of `EPOCHS`.

    Returns:
        `(backbone, history)`: the model without its head, and the `history` of `fit`.
    """
    keras.utils.set_random_seed(seed)
    images, labels, names = load_glyphs("train")
    held_images, held_labels, _ = load_glyphs("validation")
    channels = 1
    transform: Callable[..., np.ndarray] = random_crops
    if tag == "letters_rgb":
        channels = 3
        rng = np.random.default_rng(seed)
        backgrounds = np.stack(
            [procedural_background(rng, BACKGROUND_SIZE) for _ in range(BACKGROUNDS)]
        )
        # Validation glyphs have backgrounds of their own.
        rng = np.random.default_rng([seed, 1])
        held = [procedural_background(rng, BACKGROUND_SIZE) for _ in range(1_000)]
        held_images = over_backgrounds(held_images, np.stack(held), rng)

        def random_backgrounds(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            return random_crops(over_backgrounds(ink, backgrounds, rng), rng)

        transform = random_backgrounds

    held_images = centre_crops(held_images, CROP)
    batches = SeededBatches(
        images,
        labels,
        BATCH_SIZE,
        seed,
        transform=transform,
        steps_per_epoch=steps_per_epoch,
    )

    backbone = build_native(architecture, (CROP, CROP, channels))
    head = [keras.layers.Dropout(0.1), keras.layers.Dense(len(names), "softmax")]
    model = keras.Sequential([backbone.input, backbone, *head])
    steps = len(batches) * epochs
    schedule = keras.optimizers.schedules.CosineDecay(
        LEARNING_RATE / 10,
        steps,
        warmup_target=LEARNING_RATE,
        warmup_steps=steps // 20,
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


def golden_input(input_shape: tuple[int, int, int]) -> np.ndarray:
    """Two images made by formula, whose first features stand on the card."""
    height, width, channels = input_shape
    picture, y, x, c = np.ogrid[:2, :height, :width, :channels]
    return ((y * 7 + x * (13 + 4 * picture) + c * 29) % 256).astype("uint8")


def publish(
    backbone: keras.Model,
    tag: str,
    record: dict[str, Any],
    out: Path,
    architecture: str = "glyphnet",
) -> None:
    """Writes the weights in float16, with their card.

    Args:
        backbone: The trained model; its weights are rounded to float16.
        tag: "letters_grey" or "letters_rgb".
        record: Dict with `seconds`, `validation_accuracy`, `epochs` and `seed`.
        out: Path of a folder; the files go to its folders `weights` and `cards`.
        architecture: Architecture of the backbone, a key of `EPOCHS`.
    """
    name = f"{architecture}.{tag}"
    weights, cards = out / "weights", out / "cards"
    for folder in (weights, cards):
        folder.mkdir(parents=True, exist_ok=True)
    rounded = [value.astype("float16") for value in backbone.get_weights()]
    backbone.set_weights(rounded)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float16")
    try:
        half = build_native(architecture, backbone.input_shape[1:])
    finally:
        keras.config.set_dtype_policy(policy)
    half.set_weights(rounded)
    path = weights / f"{name}.weights.h5"
    with atomic_write(path) as new:
        half.save_weights(new)
    golden = backbone.predict(golden_input(backbone.input_shape[1:]), verbose=0)
    colour = "in colour over procedural backgrounds" if tag == "letters_rgb" else "grey"
    card = {
        "id": name,
        "architecture": architecture,
        "input_shape": list(backbone.input_shape[1:]),
        "parameters": backbone.count_params(),
        "preprocessing": "none needed: takes pixels from 0 to 255, scaling is a layer",
        "data": f"hornbook_glyphs: 80,000 letters and symbols, no digits, {colour}",
        "command": f"python -m hornbook.zoo.pretrain {tag} --architecture "
        f"{architecture} --out zoo",
        **record,
        "chance": round(1 / len(glyph_classes()), 4),
        "licence": "Apache-2.0",
        "sha256": sha256(path),
        "golden_features": np.round(golden[:, :8].astype("float64"), 5).tolist(),
    }
    write_json(cards / f"{name}.json", card)


def main() -> None:
    """Trains a backbone, and writes its weights and their card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tag", choices=TAGS)
    parser.add_argument("--architecture", choices=sorted(EPOCHS), default="glyphnet")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--epochs", type=int, help="default: as on the card")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()

    start = time.perf_counter()
    tag, architecture = arguments.tag, arguments.architecture
    epochs = arguments.epochs or EPOCHS[architecture][tag]
    backbone, history = pretrain(
        tag, epochs, seed=arguments.seed, architecture=architecture
    )
    record = {
        "seconds": round(time.perf_counter() - start),
        "validation_accuracy": round(history["val_accuracy"][-1], 4),
        "epochs": epochs,
        "seed": arguments.seed,
    }
    publish(backbone, tag, record, arguments.out, architecture)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
