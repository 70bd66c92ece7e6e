"""What every study says of itself, and what it left behind."""

import ast
import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIELDS = ("Claim", "Source", "Rule", "Change", "Command", "Writes")
VERDICTS = ("holds", "partly", "not here")
CLAIMS = {
    path.stem: docstring
    for path in sorted((ROOT / "studies").glob("*.py"))
    if "\nClaim:" in (docstring := ast.get_docstring(ast.parse(path.read_text())) or "")
}
# They choose, or fit and test, and claim no accuracy by their seeds.
FEWER = {"finetune_rates": 3, "curve_verdicts": 2}
# Those that the harness does not run, and what their rule is made from.
RULES = {"curve_verdicts": "held_out", "finetune_arms": "tasks", "shift": "tasks"}


def record(name):
    """The committed figures of a study."""
    return json.loads((ROOT / f"docs/studies/{name}.json").read_text())


def test_there_is_a_study_for_each_record():
    recorded = {path.stem for path in (ROOT / "docs/studies").glob("*.json")}
    assert recorded - {"curves"} == set(CLAIMS)  # the curves are curve_verdicts' own


@pytest.mark.parametrize("name", CLAIMS)
def test_the_header_says_all(name):
    for field in FIELDS:
        assert re.search(rf"^{field}: +\S", CLAIMS[name], re.MULTILINE), field


@pytest.mark.parametrize("name", CLAIMS)
def test_the_record_says_by_which_code_and_machine(name):
    result = record(name)
    assert re.fullmatch(r"[0-9a-f]{7,}", result["commit"])
    assert set(result["versions"]) >= {"keras", "tensorflow", "numpy"}
    assert "Python 3." in result["machine"]
    assert len(result["seeds"]) >= FEWER.get(name, 5)
    assert result["verdict"] in VERDICTS
    assert result["because"]


@pytest.mark.parametrize("name", CLAIMS)
def test_the_picture_is_there_and_light(name):
    path = ROOT / f"docs/studies/{name}.png"
    assert 0 < path.stat().st_size < 200_000


@pytest.mark.parametrize("name", RULES)
def test_the_committed_verdict_follows(name, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "studies"))
    result = record(name)
    decide = runpy.run_path(str(ROOT / f"studies/{name}.py"))["decide"]
    assert decide(result[RULES[name]]) == (result["verdict"], result["because"])
