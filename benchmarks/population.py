"""Trials side by side against one by one, by the size of the population, on JAX.

The small CNN of `search.py`: 1,200 digits, 5 epochs, batches of 64. Each size is a
process of its own, with the same seed; trials an hour count everything from `search`
on, compiling too. Sizes are run one after the other, and the whole is repeated.

A population is for accelerators that one small model cannot fill. On a few CPU cores
it is slower: what XLA makes of N convolutions at once is no faster there.

Command: python benchmarks/population.py [size ...]
Writes:  docs/benchmarks/population.json, a row for each device
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"

OUT = Path(__file__).parents[1] / "docs/benchmarks/population.json"
SIZES = [4, 16, 64, 256]
ROUNDS = 3
LEAST_TRIALS = 24


def search(size):
    """One search with a population of a size, or one by one with 0.

    Returns:
        Dict of the device, the trials, and the seconds that each took.
    """
    import jax
    from search import small

    from hornbook import tuning

    x, y, fit, build = small()
    trials = max(LEAST_TRIALS, 2 * size)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tuning.RandomSearch(
            build,
            "val_accuracy",
            trials,
            seed=1,
            directory=folder,
            project_name="small",
            population=size or None,
        )
        started = time.perf_counter()
        tuner.search(x, y, verbose=0, **fit)
        seconds = (time.perf_counter() - started) / trials
    device = jax.devices()[0].device_kind
    if jax.default_backend() == "cpu":
        device = f"{os.cpu_count()} CPU cores"
    return {"device": device, "trials": trials, "seconds_a_trial": seconds}


def apart(size):
    """`search` in a process of its own."""
    command = [sys.executable, __file__, "search", str(size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(sizes):
    """Measures, prints and writes."""
    rounds = [{size: apart(size) for size in [0, *sizes]} for _ in range(ROUNDS)]
    row = {"rounds": ROUNDS, "sizes": []}
    for size in [0, *sizes]:
        runs = [each[size] for each in rounds]
        seconds = statistics.median(run["seconds_a_trial"] for run in runs)
        alone = statistics.median(each[0]["seconds_a_trial"] for each in rounds)
        row["sizes"].append(
            {
                "population": size or "one by one",
                "trials": runs[0]["trials"],
                "seconds_a_trial": round(seconds, 4),
                "times_one_by_one": round(alone / seconds, 2),
            }
        )
        print(json.dumps(row["sizes"][-1]), flush=True)
    result = {"command": "python benchmarks/population.py", "devices": {}}
    if OUT.exists():
        result = json.loads(OUT.read_text())
    result["devices"][rounds[0][0]["device"]] = row
    if all(device.endswith("CPU cores") for device in result["devices"]):
        result["gpu"] = "not measured: no GPU was at hand"
    else:
        result.pop("gpu", None)
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["search"]:
        print(json.dumps(search(int(sys.argv[2]))))
    else:
        main([int(size) for size in sys.argv[1:]] or SIZES)
