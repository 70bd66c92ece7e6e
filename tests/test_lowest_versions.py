"""The floors of pyproject.toml are versions that really work."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def floors():
    """Each direct requirement at its lowest version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    names = ("export", "hub", "jax", "ray", "torch", "test")
    extras = [requirement for name in names for requirement in extras[name]]
    for requirement in project["dependencies"] + extras:
        if found := re.match(r"([\w-]+)>=([\w.]+)", requirement):
            yield "{}=={}".format(*found.groups())


@pytest.mark.slow
def test_the_quick_tests_pass_on_the_lowest_versions(tmp_path):
    pins = tmp_path / "lowest.txt"
    pins.write_text("\n".join(floors()) + "\n")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    install = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "-r", pins], check=True)
    subprocess.run([*install, "-c", pins, ROOT], check=True)
    done = subprocess.run(
        [
            *(python, "-m", "pytest", "-q", "-m", "not slow and not heavy", "-n", "2"),
            *("-p", "no:cacheprovider", "--rootdir", ROOT),
            *("tests/recipes", "tests/zoo", "tests/cli", "tests/tuning"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
