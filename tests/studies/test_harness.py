"""The studies' harness: cells are kept, arms compared in pairs, verdicts computed."""

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture
def harness(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(STUDIES))
    monkeypatch.delitem(sys.modules, "harness", raising=False)
    import harness

    monkeypatch.setattr(harness, "ROOT", tmp_path)
    monkeypatch.setattr(harness, "OUT", tmp_path / "docs")
    monkeypatch.setattr(sys, "argv", ["study"])
    (tmp_path / "docs").mkdir()
    return harness


@pytest.fixture
def study(harness, tmp_path):
    """Makes a study that counts how often each cell is run."""
    file = tmp_path / "toy.py"
    file.write_text('"""A toy."""\n')
    calls = []

    def plain(seed):
        calls.append(("plain", seed))
        return 10 + seed

    def better(seed):
        calls.append(("better", seed))
        return 13 + seed + (seed % 2)

    def make(arms=None, decide=lambda arms: ("holds", "It does.")):
        return harness.Study(
            file=str(file),
            arms=arms or {"plain": plain, "better": better},
            baseline="plain",
            measure="Points",
            decide=decide,
        )

    return make, calls, file


def test_arms_are_compared_in_pairs(harness):
    rng = np.random.default_rng(0)
    base = rng.normal(size=8) * 10
    arm = base + 1 + 0.1 * rng.normal(size=8)
    row = harness.summarise(list(arm), list(base))
    differences = arm - base
    error = differences.std(ddof=1) / np.sqrt(8)
    t = differences.mean() / error
    assert row["mean"] == pytest.approx(arm.mean())
    assert row["sd"] == pytest.approx(arm.std(ddof=1))
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(t), 7))
    half = stats.t.ppf(0.975, 7) * error
    expected = [differences.mean() - half, differences.mean() + half]
    assert row["interval"] == pytest.approx(expected)
    # Unpaired, the spread between seeds would hide what the arm brings.
    assert stats.ttest_ind(arm, base).pvalue > 0.5 > row["p"]


def test_baseline_has_no_difference_to_itself(harness):
    assert "p" not in harness.summarise([1.0, 2.0], [1.0, 2.0])


def test_writes_figures_verdict_and_picture(study, tmp_path):
    make, _, _ = study
    rule = lambda arms: ("holds" if arms["better"]["difference"] > 3 else "partly", "!")  # noqa: E731
    make(decide=rule).main()
    result = json.loads((tmp_path / "docs/toy.json").read_text())
    assert result["verdict"] == "holds"
    assert result["seeds"] == [0, 1, 2, 3, 4]
    assert result["arms"]["better"]["difference"] == pytest.approx(3.4)
    assert result["versions"]["keras"]
    assert (tmp_path / "docs/toy.png").read_bytes().startswith(b"\x89PNG")


def test_goes_on_where_it_was_killed(study):
    make, calls, _ = study

    def dies(seed):
        raise KeyboardInterrupt

    whole = make()
    plain = whole.arms["plain"]
    with pytest.raises(KeyboardInterrupt):
        make(arms={"plain": plain, "better": dies}).main()
    assert len(calls) == 5
    whole.main()
    assert [name for name, _ in calls] == ["plain"] * 5 + ["better"] * 5


def test_a_changed_study_begins_anew(study):
    make, calls, file = study
    make().main()
    file.write_text('"""Another toy."""\n')
    make().main()
    assert len(calls) == 20


def test_quick_runs_two_seeds_and_publishes_nothing(study, tmp_path, monkeypatch):
    make, calls, _ = study
    monkeypatch.setattr(sys, "argv", ["study", "--quick"])
    make().main()
    assert {seed for _, seed in calls} == {0, 1}
    assert not list((tmp_path / "docs").iterdir())
    assert (tmp_path / "build/studies/toy/quick.png").is_file()
    # A study may do less in a look, so its cells are not those of a whole run.
    monkeypatch.setattr(sys, "argv", ["study"])
    make().main()
    assert len(calls) == 4 + 10


def test_cells_may_tell_more_than_a_number(study, tmp_path):
    make, _, _ = study
    seen = []

    def decide(arms):
        return "holds", str(arms["plain"]["details"][1])

    def picture(result):
        from matplotlib.figure import Figure

        seen.append(result["arms"]["plain"]["details"][4])
        return Figure()

    arms = {"plain": lambda seed: (1.0 * seed, {"path": [seed]}), "other": float}
    whole = replace(make(arms=arms, decide=decide), picture=picture)
    whole.main()
    whole.main()  # from the cells that were kept
    result = json.loads((tmp_path / "docs/toy.json").read_text())
    assert result["because"] == "{'path': [1]}"
    assert "details" not in result["arms"]["other"]
    assert seen == [{"path": [4]}] * 2


def test_a_lead_is_that_of_the_first_over_the_second(harness):
    arms = {"a": {"values": [3.0, 5.0, 4.0]}, "b": {"values": [1.0, 2.0, 3.0]}}
    by, p = harness.lead(arms, "a", "b")
    assert by == pytest.approx(2)
    expected = stats.ttest_rel(arms["a"]["values"], arms["b"]["values"]).pvalue
    assert p == pytest.approx(expected)
    assert harness.lead(arms, "a", "a") == (0.0, 1.0)


def test_a_difference_that_is_the_same_in_each_seed_is_certain(harness):
    arms = {"a": {"values": [2.0, 3.0]}, "b": {"values": [1.0, 2.0]}}
    assert harness.lead(arms, "a", "b") == (1.0, 0.0)
    assert harness.summarise([2.0, 3.0], [1.0, 2.0])["interval"] == [1.0, 1.0]


@pytest.mark.parametrize(
    "signs, verdict",
    [((1, 1), "holds"), ((1, 0), "partly"), ((0, 0), "not here")],
)
def test_a_claim_in_parts(harness, signs, verdict):
    assert harness.by_signs(signs) == verdict


def test_refuses_a_verdict_of_its_own(study):
    make, _, _ = study
    with pytest.raises(ValueError, match="Received: 'surely'"):
        make(decide=lambda arms: ("surely", "")).main()


COMMITTED = [
    path
    for path in sorted((STUDIES.parent / "docs/studies").glob("*.json"))
    if "baseline" in json.loads(path.read_text())  # the harness wrote it
]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_the_committed_verdict_follows_from_the_committed_figures(path, monkeypatch):
    monkeypatch.syspath_prepend(str(STUDIES))
    study = json.loads(path.read_text())
    arms = study["arms"]
    baseline = arms[study["baseline"]]["values"]
    for row in arms.values():
        differences = np.subtract(row["values"], baseline)
        assert row["mean"] == pytest.approx(np.mean(row["values"]), abs=1e-3)
        assert row.get("difference", 0) == pytest.approx(differences.mean(), abs=1e-3)
    script = runpy.run_path(str(STUDIES / f"{study['study']}.py"))
    verdict = script["STUDY"].decide(arms)
    assert verdict == (study["verdict"], study["because"])
