"""The line of evidence: never stale, and by the rule that is stated."""

import importlib.util
import json
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from hornbook import recipe_index

ROOT = Path(__file__).parents[3]


@pytest.fixture
def evidence(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs/site"))
    spec = importlib.util.spec_from_file_location(
        "site_evidence", ROOT / "docs/site/evidence.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("measured", None)


def test_the_shipped_file_is_the_newest(evidence, capsys):
    assert evidence.main(["--check"]) == 0, capsys.readouterr().err


def test_a_stale_file_is_told_of(evidence, monkeypatch, tmp_path, capsys):
    stale = tmp_path / "evidence.json"
    stale.write_text("{}\n")
    monkeypatch.setattr(evidence, "OUT", stale)
    assert evidence.main(["--check"]) == 1
    assert "stale" in capsys.readouterr().err
    assert evidence.main([]) == 0
    assert evidence.main(["--check"]) == 0


def test_each_entry_is_of_a_recipe():
    entries = tomllib.loads((ROOT / "docs/site/evidence.toml").read_text())
    assert set(entries) <= {recipe.name for recipe in recipe_index.recipes()}
    assert set(recipe_index.evidence()) == set(entries)


def test_the_figure_is_the_studys(evidence):
    study = json.loads((ROOT / "docs/studies/input_statistics.json").read_text())
    arms = study["arms"]
    gain = arms["MinMaxScaling"]["mean"] - arms["raw measurements"]["mean"]
    line = recipe_index.find("min_max_scaling").evidence
    assert line.startswith(f"partly: {gain:+.1f} points against raw measurements; ")
    assert line.endswith(f"{len(study['seeds'])} seeds")
    assert f"(p = {arms['MinMaxScaling']['p']:.2f})" in line


def test_without_a_study_it_says_so(monkeypatch):
    monkeypatch.setattr(recipe_index, "evidence", dict)
    assert {each.evidence for each in recipe_index.recipes()} == {"not measured yet"}


def test_what_a_tool_says_is_held_by_a_test_that_exists():
    entries = tomllib.loads((ROOT / "docs/site/evidence.toml").read_text())
    tools = {name: each["test"] for name, each in entries.items() if "test" in each}
    assert "full_state" in tools
    for recipe, test in tools.items():
        file, _, function = test.partition("::")
        assert Path(file).stem == f"test_{recipe}"
        assert f"\ndef {function}(" in (ROOT / file).read_text()
        assert recipe_index.find(recipe).evidence.startswith("tested: ")


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([(True, 0.01), (True, 0.04)], "holds"),
        ([(True, 0.01), (True, 0.2)], "partly"),
        ([(True, 0.2)], "partly"),
        ([(True, 0.01), (False, 0.01)], "partly"),
        ([(False, 0.9), (False, 0.01)], "not here"),
    ],
)
def test_rule(evidence, rows, verdict):
    assert evidence._verdict([{"better": b, "p": p} for b, p in rows]) == verdict


def test_lower_is_better_where_it_is_said(evidence):
    arms = {"ours": [1.0, 1.1, 1.3], "theirs": [2.0, 2.2, 2.5]}
    study = SimpleNamespace(arms=arms)
    row = evidence._compare(study, arm="ours", over="theirs", lower=True)
    assert row["better"]
    assert row["difference"] == pytest.approx(-1.1)
    assert not evidence._compare(study, arm="ours", over="theirs")["better"]


def test_a_detail_may_stand_for_the_number(evidence):
    arms = {
        "ours": {"details": [{"units": 3.0}, {"units": 4.5}]},
        "theirs": {"details": [{"units": 1.0}, {"units": 2.0}]},
    }
    study = SimpleNamespace(
        arms={"ours": [0.0, 0.1], "theirs": [9.0, 9.1]}, result={"arms": arms}
    )
    row = evidence._compare(study, arm="ours", over="theirs", detail="units")
    assert row["difference"] == pytest.approx(2.25)


def test_what_is_the_same_in_each_seed_is_certain(evidence):
    study = SimpleNamespace(arms={"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [2.0, 3.0]})
    assert evidence._compare(study, arm="a", over="b")["p"] == 1
    assert evidence._compare(study, arm="c", over="b")["p"] == 0
