"""Commands in this process: a start of Python and TensorFlow for each takes seconds."""

import contextlib
import io
import subprocess
import sys

import pytest

from hornbook.cli import main


def run_here(*arguments, cwd=None):
    """Runs a command as `python -m hornbook` would, but in this process.

    Args:
        *arguments: Its arguments, of which each is made a string.
        cwd: Folder to run it in.

    Returns:
        `subprocess.CompletedProcess`. What a process would print as a traceback is
        raised.
    """
    arguments = [str(each) for each in arguments]
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(cwd or "."),
        pytest.raises(SystemExit) as ended,
    ):
        main(arguments)
    code = ended.value.code or 0
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def run_there(*arguments, cwd=None):
    """Runs a command in a process of its own, as a user's shell does."""
    command = [sys.executable, "-m", "hornbook", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.fixture(scope="session")
def command():
    """A function that runs a command in this process: see `run_here`."""
    return run_here


@pytest.fixture(scope="session")
def shell():
    """A function that runs a command in a process of its own: see `run_there`."""
    return run_there
