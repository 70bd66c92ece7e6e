"""Peak memory of `fit_lbfgs` from 1,000 to 50,000 examples, by backend.

What three iterations take at most beyond what was held before them, data and model
included, in a process of its own. With a fixed chunk it must not grow with the
examples; the same in one chunk shows what grows without.

Command: python benchmarks/lbfgs_memory.py
Writes:  docs/benchmarks/lbfgs.json
"""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

OUT = Path(__file__).parents[1] / "docs/benchmarks/lbfgs.json"
BACKENDS = ("tensorflow", "jax", "torch")
EXAMPLES = (1_000, 10_000, 50_000)
CHUNK, FEATURES, UNITS = 1_000, 64, 512
BOUND_MB = 16


def megabytes(field):
    """A line of the kernel's account of this process, such as `VmHWM`, the peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise ValueError(f"No such line. Received: field={field!r}")


def peak(examples, chunk_size):
    """Megabytes that three iterations take beyond what was held before them."""
    import keras
    import numpy as np

    from hornbook.recipes.optimizers.fit_lbfgs import fit_lbfgs

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((examples, FEATURES), dtype="float32")
    y = rng.integers(10, size=examples)
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(UNITS, activation="tanh"),
            keras.layers.Dense(UNITS, activation="tanh"),
            keras.layers.Dense(10),
        ]
    )
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = megabytes("VmRSS")
    fit_lbfgs(model, x, y, max_iter=3, chunk_size=chunk_size, verbose=0)
    return megabytes("VmHWM") - before


def measure(backend, examples, chunk_size):
    """`peak`, in a process of its own."""
    command = [sys.executable, __file__, "peak", str(examples), str(chunk_size)]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return round(float(done.stdout.splitlines()[-1]), 1)


def main():
    """Measures, prints and writes."""
    rows = []
    for backend in BACKENDS:
        chunked = [measure(backend, examples, CHUNK) for examples in EXAMPLES]
        whole = [measure(backend, examples, examples) for examples in EXAMPLES]
        row = {
            "backend": backend,
            "chunk_mb": chunked,
            "growth_mb": round(max(chunked) - chunked[0], 1),
            "bound_growth_mb": BOUND_MB,
            "one_chunk_mb": whole,
        }
        rows.append(row)
        print(row, flush=True)
    packages = ("keras", "scipy", "numpy", *BACKENDS)
    result = {
        "command": "python benchmarks/lbfgs_memory.py",
        "model": f"{FEATURES}-{UNITS}-{UNITS}-10, tanh",
        "chunk_size": CHUNK,
        "examples": EXAMPLES,
        "rows": rows,
        "versions": {package: version(package) for package in packages},
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        print(peak(*(int(each) for each in sys.argv[2:])))
    else:
        main()
