import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUDY = json.loads((ROOT / "docs/studies/finetune_arms.json").read_text())


@pytest.fixture
def tables():
    return runpy.run_path(str(ROOT / "studies/tables.py"))


def test_the_readme_has_the_newest_figures(tables):
    assert tables["main"](["--check"]) == 0


def test_a_cell_for_each_arm_and_task(tables):
    lines = tables["finetune_arms"](STUDY).splitlines()
    assert len(lines) == 2 + len(STUDY["tasks"][0]["arms"])
    assert {line.count("|") for line in lines} == {len(STUDY["tasks"]) + 2}


def arms(task):
    return {arm["name"]: arm["mean"] for arm in task["arms"]}


def test_what_we_promise_holds_in_the_measured_figures():
    """At least 40 and 80 points on photo digits, 5 and 15 on grey ones."""
    by_task = {
        (task["dataset"], task["labels_per_class"]): arms(task)
        for task in STUDY["tasks"]
    }
    photo = by_task["tfds:hornbook_photo_digits", 5]
    assert photo["head_then_all"] >= 0.80
    assert photo["head_then_all"] - photo["scratch"] >= 0.40
    for labels, points in ((5, 0.05), (1, 0.15)):
        grey = by_task["tfds:hornbook_digits", labels]
        assert grey["head_then_all"] - grey["scratch"] >= points
    assert all(len(task["seeds"]) >= 5 for task in STUDY["tasks"])
