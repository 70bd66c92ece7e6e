"""How long work tells whoever waits how far it is."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

Update = Callable[..., None]


class Progress:
    """Silent. `Bars` shows what this one keeps to itself."""

    @contextlib.contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Update]:
        """A stretch of work of `total` steps, if that is known yet.

        Yields `update(completed, total=None, **numbers)`.
        """
        yield lambda completed, total=None, **numbers: None


class Bars(Progress):
    """Bars with the time left, in a terminal or a notebook; a line a stage elsewhere.

    Args:
        shown: Whether this process is the one that shows anything.
    """

    def __init__(self, shown: bool = True) -> None:
        notebook = in_notebook()
        self.is_live = notebook or sys.stderr.isatty()
        self.console = Console(stderr=not notebook, quiet=not shown)

    @contextlib.contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Update]:
        """Shows one stage; yields `update(completed, total=None, **numbers)`."""
        with RichProgress(
            TextColumn("{task.description:>14}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=self.console,
            disable=not self.is_live,
        ) as bars:
            task = bars.add_task(title, total=total, numbers="")
            latest: dict[str, float] = {}

            def update(completed, total=None, **numbers):
                latest.update(numbers)
                text = "  ".join(
                    f"{name} {value:.3f}" for name, value in latest.items()
                )
                bars.update(task, completed=completed, total=total, numbers=text)

            yield update
        if not self.is_live:
            numbers = "".join(f", {name} {value:.3f}" for name, value in latest.items())
            steps = f"{bars.tasks[task].total or 0:.0f} steps"
            self.console.print(f"{title}: {steps}{numbers}", highlight=False)


def in_notebook() -> bool:
    """Whether this runs in a notebook, whose output can be updated."""
    shell = sys.modules.get("IPython")
    found = shell.get_ipython() if shell is not None else None
    return type(found).__name__ == "ZMQInteractiveShell"
