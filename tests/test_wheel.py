"""What people install holds all of ours, and works where there is no checkout."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from hornbook import recipe_index

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes"
FOLDERS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
    "package-dir"
]


@pytest.mark.slow
def test_wheel(tmp_path):
    """A wheel holds all of ours under one name, and works where it is unpacked."""
    checkout, wheels, site = (
        tmp_path / "checkout",
        tmp_path / "wheels",
        tmp_path / "site",
    )
    shipped = set()
    for package, folder in FOLDERS.items():
        ignore = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / folder, checkout / folder, ignore=ignore)
        inside = package.replace(".", "/")
        shipped |= {
            f"{inside}/{path.relative_to(checkout / folder).as_posix()}"
            for path in (checkout / folder).rglob("*")
            if path.is_file()
        }
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)

    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", wheels, checkout]
    if int(importlib.metadata.version("setuptools").partition(".")[0]) >= 77:
        build.append("--no-build-isolation")
    subprocess.run(build, check=True)
    (wheel,) = wheels.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        names = set(archive.namelist())

    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"hornbook"}
    assert {name for name in names if name.startswith("hornbook/")} == shipped
    for ending in (".weights.h5", ".json", ".html.j2", "/py.typed"):
        assert any(name.endswith(ending) for name in shipped)

    done = subprocess.run(
        [sys.executable, "-m", "hornbook", "list", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    listed = json.loads(done.stdout)
    assert len(listed) == len(recipe_index.files(RECIPES))
    assert all(Path(each["path"]).is_relative_to(site) for each in listed)
