"""Shows a running search: a table on a terminal, otherwise a line per trial."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

ROWS = 8
SECONDS = 1.0


@contextlib.contextmanager
def watching(job: Any, console: Console) -> Iterator[None]:
    """Shows the trials of a search while it runs.

    Args:
        job: A `SearchJob`.
        console: A `rich.console.Console`.
    """
    view = View(job)
    if console.is_terminal:
        with Live(get_renderable=view.draw, console=console, refresh_per_second=2):
            yield
        return
    done = threading.Event()

    def tell() -> None:
        is_last = False
        while not is_last:
            is_last = done.wait(SECONDS)
            for line in view.new_lines():
                console.print(line, markup=False, highlight=False, soft_wrap=True)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class View:
    """The trials of a search, as text.

    It only reads what the search keeps in memory, so it does not matter where the
    trials run.

    Args:
        job: A `SearchJob`.
    """

    def __init__(self, job: Any) -> None:
        self.job = job
        self.started = time.monotonic()
        trials = self._trials()
        self.before = {key for key, each in trials.items() if _has_ended(each)}
        self.reported = set(self.before)

    def _trials(self):
        """The trials by (stage, id), in the order in which they began."""
        tuners = getattr(self.job.tuner, "tuners", [self.job.tuner])
        found = {}
        for stage, tuner in enumerate(list(tuners)):
            for trial_id, trial in list(tuner.oracle.trials.items()):
                found[stage, trial_id] = trial
        return found

    def _total(self):
        tuner = self.job.tuner
        plan = getattr(tuner, "plan", None)
        if plan is not None:
            return sum(stage["trials"] for stage in plan)
        return tuner.oracle.max_trials

    def new_lines(self) -> Iterator[str]:
        """Yields a line for each trial that has ended since the last call."""
        for key, trial in self._trials().items():
            if _has_ended(trial) and key not in self.reported:
                self.reported.add(key)
                result = f"{self._result(trial)}. {self.progress()}"
                yield f"trial {self._name(key)}: {result}"

    def _name(self, key):
        stage, trial_id = key
        has_stages = hasattr(self.job.tuner, "plan")
        return f"{stage + 1}/{trial_id}" if has_stages else trial_id

    def _result(self, trial):
        if trial.score is None:
            return f"failed: {_last_line(trial.message)}"
        return f"{trial.score:.4f} with {_values(trial)}"

    def progress(self) -> str:
        """Returns how many trials have ended, the best, the speed and the time left."""
        trials = self._trials()
        ended = {key for key, each in trials.items() if _has_ended(each)}
        total, new = self._total(), len(ended - self.before)
        parts = [f"{len(ended)} of {total}" if total else f"{len(ended)} trials"]
        best = self._best(trials)
        if best is not None:
            parts.append(f"best {best.score:.4f}")
        seconds = time.monotonic() - self.started
        if new:
            parts.append(f"{3600 * new / seconds:.0f} trials/hour")
            if total:
                left = (total - len(ended)) * seconds / new
                parts.append(f"{_duration(left)} left")
        return ", ".join(parts)

    def _best(self, trials):
        """The best trial of the last stage that has any."""
        scored = {key: each for key, each in trials.items() if each.score is not None}
        if not scored:
            return None
        last = max(stage for stage, _ in scored)
        sign = 1 if self.job.tuner.oracle.objective.direction == "max" else -1
        of_last = [each for (stage, _), each in scored.items() if stage == last]
        return max(of_last, key=lambda each: sign * each.score)

    def draw(self) -> Group:
        """Returns a table of the best trials and those that run, and the progress."""
        trials = self._trials()
        sign = 1 if self.job.tuner.oracle.objective.direction == "max" else -1
        scored = [item for item in trials.items() if item[1].score is not None]
        scored.sort(key=lambda item: (-item[0][0], -sign * item[1].score))
        names = list(
            dict.fromkeys(name for each in trials.values() for name in _active(each))
        )
        table = Table(title="Best trials so far", title_justify="left", expand=False)
        table.add_column("trial")
        table.add_column(self.job.tuner.oracle.objective.name, justify="right")
        for name in names:
            table.add_column(name, justify="right")
        for rank, (key, trial) in enumerate(scored[:ROWS]):
            values = [_short(_active(trial).get(name)) for name in names]
            style = "bold" if rank == 0 else None
            table.add_row(self._name(key), f"{trial.score:.4f}", *values, style=style)
        for key, trial in trials.items():
            if not _has_ended(trial):
                values = [_short(_active(trial).get(name)) for name in names]
                table.add_row(self._name(key), "running", *values, style="dim")
        failed = sum(each.status in ("FAILED", "INVALID") for each in trials.values())
        progress = self.progress() + (f", {failed} failed" if failed else "")
        return Group(table, Text(progress))


def _has_ended(trial):
    return trial.status in ("COMPLETED", "FAILED", "INVALID")


def _active(trial):
    values = trial.hyperparameters.values
    return {name: v for name, v in values.items() if not name.startswith("tuner/")}


def _values(trial):
    return ", ".join(f"{name} {_short(v)}" for name, v in _active(trial).items())


def _short(value):
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _last_line(message):
    return ((message or "").strip().splitlines() or ["no reason was given"])[-1]


def _duration(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
