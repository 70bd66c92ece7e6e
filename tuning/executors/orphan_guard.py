"""Ends other processes once this one has ended, even if it is killed."""

import subprocess
import sys
from collections.abc import Iterable

CODE = """
import contextlib, sys
import psutil
watched = []
for process in map(int, sys.argv[1:]):
    with contextlib.suppress(psutil.NoSuchProcess):
        watched.append(psutil.Process(process))
sys.stdin.read()
for process in watched:
    with contextlib.suppress(psutil.NoSuchProcess):  # Also if the id was reused.
        process.kill()
"""


def descendants() -> set[int]:
    """Returns the ids of the processes that this one, or one of them, has started."""
    import psutil  # of the extra `ray`

    return {each.pid for each in psutil.Process().children(recursive=True)}


class OrphanGuard:
    """A process that waits for the end of this one, and then kills others.

    A process that is killed cannot do that itself.

    Args:
        processes: Ids of the processes to kill.
    """

    def __init__(self, processes: Iterable[int]) -> None:
        command = [sys.executable, "-c", CODE, *map(str, processes)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)

    def end(self) -> None:
        """Kills now those that still run."""
        self.process.communicate()  # which closes its input
