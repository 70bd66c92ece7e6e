"""Ends other processes once this one has ended, however it does."""

import subprocess
import sys

CODE = """
import contextlib, sys
import psutil
watched = []
for process in map(int, sys.argv[1:]):
    with contextlib.suppress(psutil.NoSuchProcess):
        watched.append(psutil.Process(process))
sys.stdin.read()
for process in watched:
    with contextlib.suppress(psutil.NoSuchProcess):  # It knows a reused id, too.
        process.kill()
"""


def descendants():
    """Ids of the processes that this one has started, and those have."""
    import psutil  # of the extra `ray`

    return {each.pid for each in psutil.Process().children(recursive=True)}


class Guard:
    """A process that waits for the end of this one, and kills others then.

    A process that is killed cannot see to that itself.

    Args:
        processes: Ids of those to kill.
    """

    def __init__(self, processes):
        command = [sys.executable, "-c", CODE, *map(str, processes)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)

    def end(self):
        """Kills what is left of them now."""
        self.process.stdin.close()
        self.process.wait()
