"""`ImageAugmentation` against Keras's chain of layers and against albumentations.

64 images of 224 x 224 x 3, flipped, turned by 18 degrees, zoomed by 0.2, shifted by
0.1, with brightness, contrast, saturation and hue changed. Keras and we take the batch
in a compiled TensorFlow function, albumentations each image in turn, on one thread. In
`tf.data` two calls run in parallel: of a batch, of an image for albumentations.

The sides take turns, so that a busy machine slows all; a ratio is that of the medians.
Images per second and core are by processor time, which the wall clock hides where
others use the cores too. Memory is what calls take at most beyond what was held before
them, in a process of its own.

What bounds us is in the profile, in processor milliseconds an image: two thirds go into
reading four pixels at a random place for each of the result's, by XLA, the rest into
the colour matrix, which waits for the mean of the view. TensorFlow's own projective
transform takes more than twice all of ours, and the same code without XLA, where each
step writes its result to memory, five times. albumentations has kernels of vector
instructions for bytes; its floats are slower.

Albumentations is optional: without it its rows are missing, and the file says so.

Command: python benchmarks/augmentation.py [rounds]
Writes:  docs/benchmarks/augmentation.json
"""

import importlib.metadata
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

OUT = Path(__file__).parents[1] / "docs/benchmarks/augmentation.json"
ROUNDS = 15
SHAPE = (64, 224, 224, 3)
SIDES = ["ours", "keras"]
SIDES += ["albumentations"] if importlib.util.find_spec("albumentations") else []
OPERATIONS = {
    "horizontal_flip": 0.5,
    "rotation": 18,
    "zoom": 0.2,
    "translation": 0.1,
    "brightness": 0.2,
    "contrast": 0.2,
    "saturation": 0.4,
    "hue": 0.1,
}


def images(dtype):
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, SHAPE).astype(dtype)


def ours(**arguments):
    from hornbook.recipes.augmentation.image_augmentation import ImageAugmentation

    return ImageAugmentation(**{**OPERATIONS, **arguments}, seed=0)


def keras_chain():
    from keras import layers

    return [
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.05),
        layers.RandomZoom(0.2),
        layers.RandomTranslation(0.1, 0.1),
        layers.RandomBrightness(0.2),
        layers.RandomContrast(0.2),
        layers.RandomSaturation(0.4),
        layers.RandomHue(0.1),
    ]


def albumentations_chain(dtype):
    import albumentations as A
    import cv2

    cv2.setNumThreads(1)
    affine = A.Affine(
        scale=(0.8, 1.2),
        translate_percent=(-0.1, 0.1),
        rotate=(-18, 18),
        border_mode=cv2.BORDER_REFLECT,
        p=1,
    )
    chain = A.Compose(
        [A.HorizontalFlip(), affine, A.ColorJitter(0.2, 0.2, 0.4, 0.1, p=1)]
    )
    if dtype == "uint8":
        return lambda image: chain(image=image)["image"]
    # Its floats are in [0, 1].
    return lambda image: chain(image=image / 255)["image"] * 255


def batch_function(side):
    """From a batch to a batch, in TensorFlow."""
    chain = [ours()] if side == "ours" else keras_chain()

    def run(batch):
        for layer in chain:
            batch = layer(batch, training=True)
        return batch

    return run


def directly(side, dtype):
    """A call that augments the images once."""
    import numpy as np
    import tensorflow as tf

    x = images(dtype)
    if side == "albumentations":
        chain = albumentations_chain(dtype)
        return lambda: np.stack([chain(image) for image in x])
    run, x = tf.function(batch_function(side)), tf.constant(x)
    return lambda: run(x).numpy()


def in_tf_data(side, dtype):
    """The same by two parallel calls of `tf.data`, four batches."""
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(images(dtype)).repeat(4)
    if side == "albumentations":
        chain = albumentations_chain(dtype)
        dataset = dataset.map(
            lambda x: tf.numpy_function(chain, [x], x.dtype), num_parallel_calls=2
        )
        dataset = dataset.batch(len(images(dtype)))
    else:
        dataset = dataset.batch(SHAPE[0])
        dataset = dataset.map(batch_function(side), num_parallel_calls=2)
    return lambda: [0 for _ in dataset]


def alternate(calls, rounds, count):
    """Images per second, and per second of a core, of calls that take turns."""
    times = {name: ([], []) for name in calls}
    for turn in range(rounds + 2):
        for name, call in calls.items():
            wall, processor = time.perf_counter(), time.process_time()
            call()
            taken = time.perf_counter() - wall, time.process_time() - processor
            if turn >= 2:
                for series, seconds in zip(times[name], taken, strict=True):
                    series.append(seconds)
    return {
        name: {
            "images_per_s": round(count / statistics.median(wall), 1),
            "images_per_core_s": round(count / statistics.median(processor), 1),
        }
        for name, (wall, processor) in times.items()
    }


def compare(make, dtype, rounds, count):
    """The sides in turn, and ours over each peer."""
    row = alternate({side: make(side, dtype) for side in SIDES}, rounds, count)
    for peer in SIDES[1:]:
        for unit in ("images_per_s", "images_per_core_s"):
            row[f"ours_over_{peer}_{unit}"] = round(
                row["ours"][unit] / row[peer][unit], 2
            )
    return row


def profile(rounds):
    """Processor milliseconds an image of ours with less to do, of uint8 images."""
    import keras
    import numpy as np
    import tensorflow as tf

    x = tf.constant(images("uint8"))
    none = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0)
    without = ours()
    without._compiled = without._render
    layers = {
        "all": ours(),
        "geometry alone": ours(**none),
        "all, without XLA": without,
    }
    calls = {
        name: tf.function(lambda x, layer=layer: layer(x, training=True))
        for name, layer in layers.items()
    }
    turn = np.tile([0.95, -0.3, 40, 0.3, 0.95, -25, 0, 0], (SHAPE[0], 1))
    transform = keras.ops.image.affine_transform
    calls["TensorFlow's bilinear transform alone"] = tf.function(
        lambda x: transform(x, turn.astype("float32"), fill_mode="reflect")
    )
    calls["a cast to floats"] = tf.function(lambda x: tf.cast(x, "float32"))
    calls = {name: lambda call=call: call(x) for name, call in calls.items()}
    rows = alternate(calls, rounds, SHAPE[0])
    return {
        name: round(1e3 / row["images_per_core_s"], 3) for name, row in rows.items()
    }


def peak(side, dtype):
    """Megabytes that calls of a side take at most."""
    run = directly(side, dtype)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    before = pages * resource.getpagesize()
    for _ in range(4):
        run()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return (most - before) / 2**20


def main(rounds=ROUNDS):
    """Compares, prints and writes."""
    from rich.console import Console
    from rich.table import Table

    result = {"cores": os.cpu_count(), "rounds": rounds, "images": SHAPE}
    if "albumentations" in SIDES:
        result["albumentations"] = importlib.metadata.version("albumentations")
    else:
        result["albumentations"] = "not installed"
    result["bounds"] = {"keras": 8, "albumentations_per_core": 0.5}
    table = Table("where", "images", "side", "images/s", "a core", "peak MB")
    for dtype in ("uint8", "float32"):
        memory = {}
        for side in SIDES:
            command = [sys.executable, __file__, "peak", side, dtype]
            done = subprocess.run(
                command, stdout=subprocess.PIPE, text=True, check=True
            )
            memory[side] = round(float(done.stdout.splitlines()[-1]))
        rows = {
            "batch": compare(directly, dtype, rounds, SHAPE[0]),
            "tf.data": compare(in_tf_data, dtype, max(rounds // 3, 1), 4 * SHAPE[0]),
        }
        result[dtype] = {**rows, "peak_mb": memory}
        for where, row in rows.items():
            for side in SIDES:
                figures = [str(each) for each in row[side].values()]
                table.add_row(where, dtype, side, *figures, str(memory[side]))
        print(dtype, result[dtype], flush=True)
    result["profile_cpu_ms_per_image"] = profile(rounds)
    console = Console()
    console.print(table)
    console.print("profile:", result["profile_cpu_ms_per_image"])
    if rounds >= ROUNDS:
        OUT.parent.mkdir(parents=True, exist_ok=True)
        OUT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        print(peak(*sys.argv[2:]))
    else:
        main(*(int(each) for each in sys.argv[1:2]))
