"""Bars with the time left on a terminal; a line a stage elsewhere."""

import contextlib
import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Bars:
    """Shows stages of work; has the method `stage` that the zoo's training asks for.

    Args:
        shown: Whether this process is the one that shows anything.
    """

    def __init__(self, shown=True):
        self.console = Console(stderr=True, quiet=not shown)

    @contextlib.contextmanager
    def stage(self, title, total=None):
        """Shows one stage; yields `update(completed, total=None, **numbers)`."""
        with Progress(
            TextColumn("{task.description:>14}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=self.console,
            disable=not sys.stderr.isatty(),
        ) as bars:
            task = bars.add_task(title, total=total, numbers="")
            latest = {}

            def update(completed, total=None, **numbers):
                latest.update(numbers)
                text = "  ".join(
                    f"{name} {value:.3f}" for name, value in latest.items()
                )
                bars.update(task, completed=completed, total=total, numbers=text)

            yield update
        if not sys.stderr.isatty():
            numbers = "".join(f", {name} {value:.3f}" for name, value in latest.items())
            steps = f"{bars.tasks[task].total or 0:.0f} steps"
            self.console.print(f"{title}: {steps}{numbers}", highlight=False)
