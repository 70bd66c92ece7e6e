"""Votes and ensembles against the plain forward passes that they are made of.

A vote over ten crops stands beside ten passes of the classifier over the same crops,
which are cut before the clock starts; an ensemble stands beside its members, one after
the other. All are compiled and see the same batch: by TensorFlow as it is, by
TensorFlow with XLA, which is what Keras's `predict` does by default, and by JAX. Sides
take turns, so that a busy machine slows all; a ratio is that of the medians. Memory is
what a compiled side takes at most beyond what was held before it, data and classifier,
in a process of its own.

Why `VotingModel` takes the views one by one: on JAX ten times the batch is not slower
to compute, but its memory to come by. 640 images of 64² took as many processor seconds
in the program as ten times 64 (0.30 and 0.32), but 0.20 instead of 0.00 in the kernel,
for 81,000 page faults a pass instead of 800: it seems to ask the system for large
pieces anew each time. For the same reason it cuts a view in its turn there: all ten,
held whole, made the vote 1.08 times ten passes at 64 images of 64², and 1.02 by the
processor where the system's allocator was told to keep what it had
(MALLOC_MMAP_THRESHOLD_). "all at once" is `views_per_batch=None`.

Command: python benchmarks/voting.py [rounds]
Writes:  docs/benchmarks/voting.json
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

OUT = Path(__file__).parents[1] / "docs/benchmarks/voting.json"
ROUNDS = 12
BOUND = 1.05
ENGINES = ("tensorflow", "tensorflow_xla", "jax")
# Names and sides of a crop and how many images are in a batch.
CASES = {"32² × 64": (32, 64), "64² × 64": (64, 64), "96² × 1": (96, 1)}
MEMBERS = 3
SIDES = ("plain", "vote", "all_at_once", "members", "ensemble")
MEMORY_CASE = "64² × 64"


def classifier(size, seed):
    """A small ResNet over pixels, with a softmax of ten classes."""
    import keras
    from keras import layers

    from hornbook.zoo.backbones.glyphnet import glyphnet

    keras.utils.set_random_seed(seed)
    backbone = glyphnet((size, size, 3), widths=(16, 32, 64))
    return keras.Sequential([backbone, layers.Dense(10, activation="softmax")])


def models(case):
    """Images, their ten crops, and the models of each side with what they are given."""
    import keras
    import numpy as np

    from hornbook.recipes.inference.ensemble import Ensemble
    from hornbook.recipes.inference.ten_crop import TenCrop
    from hornbook.recipes.inference.voting_model import VotingModel

    size, batch = CASES[case]
    views = TenCrop(size, size)
    shape = (batch, size * 9 // 8, size * 9 // 8, 3)
    images = np.random.default_rng(0).integers(0, 256, shape).astype("float32")
    crops = keras.ops.convert_to_numpy(views(images))
    crops = [np.ascontiguousarray(crops[:, view]) for view in range(10)]
    members = [classifier(size, seed) for seed in range(MEMBERS)]
    single = members[0]
    return {
        "plain": [(single, crops)],
        "vote": [(VotingModel(single, views), [images])],
        "all_at_once": [(VotingModel(single, views, views_per_batch=None), [images])],
        "members": [(member, crops[:1]) for member in members],
        "ensemble": [(Ensemble(members), crops[:1])],
    }


def compiled(pairs, engine):
    """A function that runs models on what they are given, compiled, to the end."""
    runs = [_compiled(model, batches, engine) for model, batches in pairs]

    def run():
        for each in runs:
            each()

    return run


def _compiled(model, batches, engine):
    model(batches[0][:1])
    if engine == "jax":
        import jax

        # Copies, since `predict` gives the values themselves away.
        state = [
            [jax.numpy.copy(variable.value) for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        ]
        step = jax.jit(lambda state, x: model.stateless_call(*state, x)[0])
        batches = [jax.device_put(batch) for batch in batches]
        return lambda: [step(state, batch).block_until_ready() for batch in batches]

    import tensorflow as tf

    xla = True if engine == "tensorflow_xla" else None
    step = tf.function(lambda x: model(x, training=False), jit_compile=xla)
    batches = [tf.constant(batch) for batch in batches]
    return lambda: [step(batch).numpy() for batch in batches]


def compare(sides, rounds):
    """Medians of each side, in milliseconds on the wall and of the processor."""
    times = {name: ([], []) for name in sides}
    for turn in range(rounds + 2):
        for name, run in sides.items():
            wall, processor = time.perf_counter(), time.process_time()
            run()
            taken = time.perf_counter() - wall, time.process_time() - processor
            if turn >= 2:
                for series, seconds in zip(times[name], taken, strict=True):
                    series.append(seconds * 1e3)
    return {
        name: [statistics.median(series) for series in both]
        for name, both in times.items()
    }


def ratio(medians, ours, peer):
    """A side against its peer."""
    (wall, processor), (peer_wall, peer_processor) = medians[ours], medians[peer]
    return {
        "side": ours,
        "peer": peer,
        "peer_ms": round(peer_wall, 2),
        "ours_ms": round(wall, 2),
        "wall_ratio": round(wall / peer_wall, 3),
        "processor_ratio": round(processor / peer_processor, 3),
    }


def time_engine(engine, rounds):
    """All comparisons of an engine; Keras's `predict` where it compiles that way."""
    rows = []
    for case in CASES:
        pairs = models(case)
        sides = {name: compiled(each, engine) for name, each in pairs.items()}
        if engine != "tensorflow":
            sides["ten_predicts"] = _predicts(pairs["plain"][0])
            sides["one_predict"] = _predicts(pairs["vote"][0])
        medians = compare(sides, rounds)
        wanted = [
            ("vote", "plain", BOUND),
            ("all_at_once", "plain", None),
            ("ensemble", "members", BOUND),
        ]
        if engine != "tensorflow":
            wanted.append(("one_predict", "ten_predicts", 1.0))
        for ours, peer, bound in wanted:
            row = {"engine": engine, "case": case, "bound": bound}
            rows.append(row | ratio(medians, ours, peer))
    return rows


def _predicts(pair):
    model, batches = pair
    size = len(batches[0])
    return lambda: [
        model.predict(batch, batch_size=size, verbose=0) for batch in batches
    ]


def memory(side, engine):
    """Megabytes that a side takes at most, after it was compiled."""
    pairs = models(MEMORY_CASE)[side]
    before = _status("VmRSS")
    run = compiled(pairs, engine)
    run()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    for _ in range(3):
        run()
    return (_status("VmHWM") - before) / 1024


def _status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1])


def alone(*arguments, engine):
    """What this script prints last in a process of its own."""
    command = [sys.executable, __file__, *map(str, arguments)]
    settings = {
        "KERAS_BACKEND": engine.partition("_")[0],
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        command,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main(rounds=ROUNDS):
    """Compares, prints and writes."""
    from rich.console import Console
    from rich.table import Table

    rows, peaks = [], []
    for engine in ENGINES:
        rows += alone("time", engine, rounds, engine=engine)
        print(*rows[-4:], sep="\n", flush=True)
        sides = {side: alone("memory", side, engine, engine=engine) for side in SIDES}
        peaks.append({"engine": engine, "case": MEMORY_CASE, "peak_mb": sides})
        print(peaks[-1], flush=True)
    names = ("engine", "case", "side", "peer", "peer_ms", "ours_ms")
    names += ("wall_ratio", "processor_ratio", "bound")
    table = Table(*names)
    for row in rows:
        table.add_row(*(str(row[name]) for name in names))
    console = Console(width=140)
    console.print(table)
    if rounds >= ROUNDS:
        result = {
            "command": "python benchmarks/voting.py",
            "cores": os.cpu_count(),
            "rounds": rounds,
            "times": rows,
            "memory": peaks,
        }
        OUT.parent.mkdir(parents=True, exist_ok=True)
        OUT.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    what, *arguments = sys.argv[1:] or [str(ROUNDS)]
    if what == "time":
        print(json.dumps(time_engine(arguments[0], int(arguments[1]))))
    elif what == "memory":
        print(json.dumps(round(memory(*arguments))))
    else:
        main(int(what))
