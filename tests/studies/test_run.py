"""The runner: finds the studies, goes on after a kill, says what failed."""

import runpy
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "studies"

STUDY = '''"""A study.

Command: NOTE=seen python studies/{name}.py
"""
import os
import sys
from pathlib import Path

{body}
'''
COUNTS = """
with Path("runs.txt").open("a") as file:
    print("{name}", os.environ["NOTE"], *sys.argv[1:], file=file)
print("holds: it does")  # STUDY.main()
"""


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """The runner in a house of two studies; returns it and how often they ran."""
    folder = tmp_path / "studies"
    folder.mkdir()
    (folder / "run.py").write_text((STUDIES / "run.py").read_text())
    for name in ("harness", "mlp", "optimizers", "small_nets"):
        (folder / f"{name}.py").write_text('"""Shared."""\n')
    for name in ("first", "second"):
        text = STUDY.format(name=name, body=COUNTS.format(name=name))
        (folder / f"{name}.py").write_text(text)
    runs = tmp_path / "runs.txt"
    runs.touch()
    main = runpy.run_path(str(folder / "run.py"))["main"]
    return folder, main, lambda: sorted(runs.read_text().splitlines())


def test_runs_each_by_its_command_and_once(runner, capsys):
    folder, main, runs = runner
    assert main([]) == 0
    assert runs() == ["first seen", "second seen"]
    assert "2/2" in capsys.readouterr().out
    assert main([]) == 0
    assert len(runs()) == 2
    assert main(["--again", "second"]) == 0
    assert runs() == ["first seen", "second seen", "second seen"]
    file = folder / "first.py"
    file.write_text(file.read_text() + "# changed\n")
    main([])
    assert runs().count("first seen") == 2


def test_quick_is_handed_on_and_leaves_a_study_undone(runner):
    _, main, runs = runner
    main(["--quick", "first"])
    assert runs() == ["first seen --quick"]
    main(["first"])
    assert runs() == ["first seen", "first seen --quick"]


def test_a_study_that_fails_is_named_and_stops_no_other(runner, capsys):
    folder, main, runs = runner
    (folder / "first.py").write_text(STUDY.format(name="first", body="sys.exit('ill')"))
    assert main([]) == 1
    assert runs() == ["second seen"]
    captured = capsys.readouterr()
    assert "FAILED" in captured.out and "ill" in captured.out
    assert captured.err.strip() == "failed: first"
    assert main([]) == 1  # it is not done


def test_an_unknown_name_is_refused(runner, capsys):
    _, main, runs = runner
    with pytest.raises(SystemExit):
        main(["third"])
    assert "no such study: third" in capsys.readouterr().err
    assert not runs()


def test_finds_the_studies_of_the_house():
    commands = runpy.run_path(str(STUDIES / "run.py"))["commands"]()
    assert commands["lbfgs"] == "python studies/lbfgs.py"
    assert commands["curve_verdicts"].startswith("KERAS_BACKEND=torch python")
    quick = runpy.run_path(str(STUDIES / "run.py"))["can_be_quick"]
    assert quick("lsuv") and not quick("augmentation_ladder") and not quick("lbfgs")
    assert not set(commands) & {"harness", "mlp", "optimizers", "pictures", "run"}
