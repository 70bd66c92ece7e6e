"""Learning to whiten: `PCAWhitening.adapt` over a stream against scikit-learn's `PCA`.

Each learns the same float32 array, in a process of its own, which counts the memory
that it takes beyond the array. All run one after another, on the same cores; processor
seconds tell what the wall clock hides where others use the machine too.

Command: python benchmarks/whitening.py [examples features]
Writes:  docs/benchmarks/whitening.json
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

OUT = Path(__file__).parents[1] / "docs/benchmarks/whitening.json"
EXAMPLES, FEATURES, BATCH = 50_000, 3_072, 256
OURS, BOUND = "PCAWhitening", "PCA()"  # the bound is to beat this one
PEERS = (OURS, BOUND, "PCA(svd_solver='covariance_eigh')")


def draw(examples, features):
    """Correlated features whose variance falls, far from their zero."""
    x = np.random.default_rng(0).standard_normal((examples, features), "float32")
    np.cumsum(x, axis=1, out=x)
    x += 100
    return x


def task(peer, x):
    """A function that learns from the array, with all imports done."""
    if peer == OURS:
        from hornbook.recipes.layers.pca_whitening import PCAWhitening

        batches = (x[start : start + BATCH] for start in range(0, len(x), BATCH))
        return lambda: PCAWhitening().adapt(batches)
    from sklearn.decomposition import PCA

    solver = "auto" if peer == BOUND else "covariance_eigh"
    return lambda: PCA(svd_solver=solver).fit(x)


def measure(peer, examples, features):
    """Seconds on the wall and of the processor, and memory beyond the array."""
    learn = task(peer, draw(examples, features))
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    before = pages * resource.getpagesize()
    wall, processor = time.perf_counter(), time.process_time()
    learn()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "wall_s": round(wall, 2),
        "processor_s": round(processor, 2),
        "megabytes": round((peak - before) / 2**20),
    }


def main(examples=EXAMPLES, features=FEATURES):
    result = {
        "examples": examples,
        "features": features,
        "batch": BATCH,
        "cores": os.cpu_count(),
        "peers": {},
    }
    for peer in PEERS:
        command = [sys.executable, __file__, str(examples), str(features), peer]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        result["peers"][peer] = json.loads(done.stdout.splitlines()[-1])
        print(peer, result["peers"][peer], flush=True)
    ours = result["peers"][OURS]
    result["ours_over"] = {
        peer: {key: round(ours[key] / figures[key], 3) for key in ours}
        for peer, figures in result["peers"].items()
        if peer != OURS
    }
    print(json.dumps(result["ours_over"], indent=2))
    if (examples, features) == (EXAMPLES, FEATURES):
        OUT.parent.mkdir(parents=True, exist_ok=True)
        OUT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    sizes = [int(each) for each in sys.argv[1:3]]
    if len(sys.argv) > 3:
        print(json.dumps(measure(sys.argv[3], *sizes)))
    else:
        main(*sizes)
