"""A search that is killed again and again ends as one that was left alone."""

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("searched.py")


def table(folder):
    """What a search found: all but times."""
    rows = {}
    for path in sorted(folder.glob("search/trial_*/trial.json")):
        trial = json.loads(path.read_text())
        record = json.loads(path.with_name("hornbook.json").read_text())
        for run in record["runs"]:
            del run["seconds"], run["how"]
        kept = ("status", "score", "best_step", "metrics")
        rows[trial["trial_id"]] = (
            trial["hyperparameters"]["values"],
            [trial[name] for name in kept],
            record["runs"],
        )
    return rows


def run(folder, seconds=None):
    """Runs the search, and kills it so long after it began.

    Returns:
        Whether it ended by itself, and its lines.
    """
    process = subprocess.Popen(
        [sys.executable, SCRIPT, folder], stdout=subprocess.PIPE, text=True
    )
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if line.startswith("ready") and seconds is not None:
            threading.Thread(
                target=lambda: (time.sleep(seconds), process.kill()), daemon=True
            ).start()
    return process.wait() == 0, lines


@pytest.mark.slow
def test_killed_search_ends_as_one_left_alone(tmp_path):
    random.seed(5)
    started = time.monotonic()
    whole, lines = run(tmp_path / "alone")
    assert whole
    assert sum(line.startswith("ends") for line in lines) == 20
    length = time.monotonic() - started

    kills, ended, lines = 0, False, []
    while not ended:
        wait = random.uniform(0, length / 4) if kills < 20 else None
        ended, more = run(tmp_path / "killed", wait)
        kills += not ended
        lines += more
    assert kills >= 3
    ends = [line for line in lines if line.startswith("ends")]
    assert sorted(set(ends)) == sorted(f"ends {i:02d}" for i in range(20))
    # A trial may have ended and been killed before it was recorded, and is not run
    # again: its record says that there is nothing left to do.
    assert len(ends) <= 20 + kills
    assert table(tmp_path / "killed") == table(tmp_path / "alone")
    states = list(tmp_path.glob("killed/search/trial_*/state-*"))
    assert not states
