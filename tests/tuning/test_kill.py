"""A search that is killed again and again ends as one that was left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest

from hornbook import tuning

SCRIPT = Path(__file__).with_name("searched.py")
MARK = "HORNBOOK_TEST_MARK"


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


class Search:
    """The search in a process, which marks those that come from it.

    Args:
        folder: For the project.
        *arguments: Of the script.
    """

    def __init__(self, folder, *arguments):
        self.mark = uuid.uuid4().hex
        # (Ray leaves a token in the home folder.)
        home = {"HOME": str(folder.parent), MARK: self.mark}
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT, folder, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | home,
        )
        self.lines = []

    def wait_for(self, start, count=1):
        """Reads lines until so many began like this."""
        while count and (line := self.process.stdout.readline()):
            self.lines.append(line.strip())
            count -= line.startswith(start)
        assert not count, self.lines

    def end(self, seconds=None):
        """Waits for the end, and kills the process before it, after so long.

        Returns:
            Whether it ended by itself.
        """
        if seconds is not None:
            timer = threading.Timer(seconds, self.process.kill)
            timer.daemon = True
            timer.start()
        self.lines += map(str.strip, self.process.stdout)
        return self.process.wait() == 0

    def alive(self):
        """Ids of processes that come from this one, with their commands."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() not in (folder / "environ").read_bytes():
                    continue
                if (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    continue
                command = (folder / "cmdline").read_bytes().decode()
            except OSError:  # It has just ended, or is another user's.
                continue
            found[int(folder.name)] = command.replace("\0", " ")
        return found

    def workers(self):
        """Ids of the processes that run trials."""
        kinds = ("executors.pool_process import work", "ray::_Actor.run")
        return [
            process
            for process, command in self.alive().items()
            if any(kind in command for kind in kinds)
        ]

    def is_gone(self, seconds=20):
        """Whether all processes end soon."""
        until = time.monotonic() + seconds
        while (left := self.alive()) and time.monotonic() < until:
            time.sleep(0.2)
        assert not left, left
        return True


def assert_scores_agree_with_checkpoints(folder):
    import importlib.util

    spec = importlib.util.spec_from_file_location("searched", SCRIPT)
    searched = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(searched)
    _, validation = searched.data()
    tuner = searched.make(str(folder), kind=tuning.RandomSearch)
    for name, trial in tuner.oracle.trials.items():
        path = folder / f"search/trial_{name}/hornbook.json"
        runs = json.loads(path.read_text())["runs"]
        best = min(run["metrics"]["val_loss"] for run in runs)
        loss = tuner.load_model(trial).evaluate(*validation, batch_size=16, verbose=0)
        assert loss == pytest.approx(best, rel=1e-4)
        mean = sum(run["metrics"]["val_loss"] for run in runs) / len(runs)
        assert trial.score == pytest.approx(mean)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A search that nothing disturbs, in process: its table, and its seconds."""
    folder = tmp_path_factory.mktemp("search") / "alone"
    started = time.monotonic()
    search = Search(folder)
    assert search.end()
    return table(folder), time.monotonic() - started


@pytest.mark.slow
def test_killed_search_ends_as_one_left_alone(tmp_path, alone):
    whole, length = alone
    random.seed(5)
    kills, lines, ended = 0, [], False
    while not ended:
        search = Search(tmp_path / "killed")
        search.wait_for("ready")
        ended = search.end(random.uniform(0, length / 20) if kills < 20 else None)
        kills += not ended
        lines += search.lines
    assert kills == 20
    ends = Counter(line for line in lines if line.startswith("ends"))
    assert max(ends.values()) == 1
    assert table(tmp_path / "killed") == whole
    assert len(whole) == 20
    assert not list(tmp_path.glob("killed/search/trial_*/state-*"))


@pytest.mark.slow
@pytest.mark.parametrize("where", ["pool", "ray"])
def test_a_worker_is_killed_and_then_the_driver(tmp_path, alone, where):
    whole, _ = alone
    folder = tmp_path / "killed"
    first = Search(folder, where, "slow")
    first.wait_for("begins", 5)
    os.kill(random.choice(first.workers()), signal.SIGKILL)
    first.wait_for("ends", 5)
    assert not first.end(seconds=random.uniform(0, 2))
    assert first.is_gone()
    assert any("its worker was killed" in line for line in first.lines)

    second = Search(folder, where, "slow")
    assert second.end()
    assert second.is_gone()
    lines = first.lines + second.lines
    ends = Counter(line for line in lines if line.startswith("ends"))
    assert max(ends.values()) == 1
    assert table(folder) == whole
    assert_scores_agree_with_checkpoints(folder)
    assert not list(folder.glob("search/trial_*/state-*"))


@pytest.mark.slow
def test_stopped_in_one_place_and_resumed_in_another(tmp_path, alone):
    whole, _ = alone
    folder = tmp_path / "moved"
    for where in ("pool", "none", "ray"):
        search = Search(folder, where, "slow")
        search.wait_for("ends", 3)
        assert not search.end(seconds=0.5)
        assert search.is_gone()
    search = Search(folder, "pool")
    assert search.end()
    assert table(folder) == whole
