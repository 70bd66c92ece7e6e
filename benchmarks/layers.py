"""Layers against their peers: `Maxout` against `Dense`, `DropConnect` against nothing.

Forward and backward, to the inputs too, in a compiled TensorFlow step without XLA, as
Keras runs it on a CPU. Both sides take turns, so that a busy machine slows both; a
ratio is that of the medians. Processor seconds tell what the wall clock hides where
others use the cores too. Memory is what steps take at most beyond what was held before
them, in a process of its own.

What the limits are: the profile has what the maximum costs by itself, as a share of the
`Dense` step of `Maxout(128)`'s size, beside one multiplication of the same tensor,
which no layer can do without. Where the product before it is thin, that is more than
the bound leaves. What was tried there: `maximum` of split pieces is as slow; `y +
relu(x - y)` takes 1.11, but rounds, badly in half precision; max pooling over the
pieces takes 1.08, but is TensorFlow's alone; a product for each piece takes up to 1.5
on wide layers. Of DropConnect's 24 %, random bytes take 13, and two passes of the mask
over kernel and gradient 8.

Command: python benchmarks/layers.py [rounds]
Writes:  docs/benchmarks/layers.json
"""

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

OUT = Path(__file__).parents[1] / "docs/benchmarks/layers.json"
ROUNDS = 100
THIN = (32, 50, 256)


def cases():
    """Rows of name, bound, shape of a batch, peer and our layer."""
    from keras import layers

    from hornbook.recipes.layers.drop_connect import DropConnect
    from hornbook.recipes.layers.maxout import Maxout
    from hornbook.recipes.layers.maxout_conv2d import MaxoutConv2D

    def conv(filters):
        return layers.Conv2D(filters, 3, padding="same")

    def maxout_conv(filters):
        return MaxoutConv2D(filters, 3, padding="same")

    def drop_connect(units, **arguments):
        return DropConnect(layers.Dense(units), 0.3, seed=0, **arguments)

    per_example = drop_connect(1024, per_example=True)
    return [
        ("Maxout(512, 2)", 1.10, (256, 784), layers.Dense(1024), Maxout(512)),
        ("Maxout(1024, 2)", 1.10, (256, 1024), layers.Dense(2048), Maxout(1024)),
        ("Maxout(240, 5)", 1.10, (256, 784), layers.Dense(1200), Maxout(240, 5)),
        ("Maxout(128, 2)", 1.10, THIN, layers.Dense(256), Maxout(128)),
        ("MaxoutConv2D(32, 3)", 1.10, (32, 32, 32, 32), conv(64), maxout_conv(32)),
        ("MaxoutConv2D(64, 3)", 1.10, (32, 16, 16, 64), conv(128), maxout_conv(64)),
        ("MaxoutConv2D(16, 3)", 1.10, (32, 28, 28, 16), conv(32), maxout_conv(16)),
        ("DropConnect", 1.25, (256, 784), layers.Dense(1024), drop_connect(1024)),
        ("per example", 3.0, (256, 1024), drop_connect(1024), per_example),
    ]


def profile_maximum(rounds):
    """Parts of `Maxout(128)` by themselves, as shares of its `Dense` step."""
    import keras

    def maximum(x):
        return keras.ops.max(keras.ops.reshape(x, (-1, 50, 2, 128)), axis=-2)

    parts = {"maximum": maximum, "one multiplication": lambda x: x * 1.001}
    times = {
        name: compare(keras.layers.Dense(256), keras.layers.Lambda(f), THIN, rounds)
        for name, f in parts.items()
    }
    return {name: row["processor_ratio"] for name, row in times.items()}


def step(layer, shape):
    """A compiled training step of one layer: outputs, and all gradients."""
    import tensorflow as tf

    x = tf.random.normal(shape)
    gradient = tf.random.normal(layer(x).shape)

    @tf.function
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        wanted = [x, *layer.trainable_weights]
        return y, tape.gradient(y, wanted, output_gradients=gradient)

    return lambda: run(x)[0].numpy()


def compare(peer, ours, shape, rounds):
    """Milliseconds of both sides, on the wall and of the processor."""
    sides = {"peer": step(peer, shape), "ours": step(ours, shape)}
    times = {name: ([], []) for name in sides}
    for turn in range(rounds + 3):
        for name, run in sides.items():
            wall, processor = time.perf_counter(), time.process_time()
            run()
            taken = time.perf_counter() - wall, time.process_time() - processor
            if turn >= 3:
                for series, seconds in zip(times[name], taken, strict=True):
                    series.append(seconds * 1e3)
    medians = {
        name: [statistics.median(series) for series in both]
        for name, both in times.items()
    }
    return {
        "peer_ms": round(medians["peer"][0], 2),
        "ours_ms": round(medians["ours"][0], 2),
        "wall_ratio": round(medians["ours"][0] / medians["peer"][0], 3),
        "processor_ratio": round(medians["ours"][1] / medians["peer"][1], 3),
    }


def peak(side):
    """Megabytes that steps of a side of the last case take at most."""
    *_, shape, peer, ours = cases()[-1]
    run = step({"peer": peer, "ours": ours}[side], shape)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    before = pages * resource.getpagesize()
    for _ in range(5):
        run()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return (most - before) / 2**20


def main(rounds=ROUNDS):
    """Compares, prints and writes."""
    from rich.console import Console
    from rich.table import Table

    rows = []
    for name, bound, shape, peer, ours in cases():
        row = {"layer": name, "inputs": shape, "bound": bound}
        rows.append(row | compare(peer, ours, shape, rounds))
        print(rows[-1], flush=True)
    profile = profile_maximum(rounds)
    memory = {}
    for side in ("peer", "ours"):
        command = [sys.executable, __file__, "peak", side]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        memory[side] = float(done.stdout.splitlines()[-1])
    memory = {
        "batch_mask_mb": round(memory["peer"]),
        "example_mask_mb": round(memory["ours"]),
        "extra_mb": round(memory["ours"] - memory["peer"]),
        "bound_extra_mb": 256,
    }
    table = Table("layer", "inputs", "peer ms", "ours ms", "wall", "processor", "bound")
    for row in rows:
        table.add_row(
            *(
                str(value)
                for value in (
                    row["layer"],
                    row["inputs"],
                    row["peer_ms"],
                    row["ours_ms"],
                    row["wall_ratio"],
                    row["processor_ratio"],
                    row["bound"],
                )
            )
        )
    console = Console()
    console.print(table)
    console.print("share of the dense step:", profile)
    console.print("memory of a mask an example:", memory)
    if rounds >= ROUNDS:
        OUT.parent.mkdir(parents=True, exist_ok=True)
        result = {"cores": os.cpu_count(), "rounds": rounds}
        result |= {"layers": rows, "profile": profile, "memory": memory}
        OUT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        print(peak(sys.argv[2]))
    else:
        main(*(int(each) for each in sys.argv[1:2]))
