"""What one sees of a search while it runs."""

import io
from types import SimpleNamespace

from rich.console import Console

from hornbook.cli import trials_table
from hornbook.cli.trials_table import View, watching


def trial(status, score=None, message=None, **values):
    hyperparameters = SimpleNamespace(values=values)
    return SimpleNamespace(
        status=status, score=score, message=message, hyperparameters=hyperparameters
    )


def job(trials, total=10, direction="max"):
    objective = SimpleNamespace(name="val_accuracy", direction=direction)
    oracle = SimpleNamespace(trials=trials, max_trials=total, objective=objective)
    return SimpleNamespace(tuner=SimpleNamespace(oracle=oracle))


def text_of(view):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(view.draw())
    return console.export_text()


def test_table_has_the_best_first_and_what_runs():
    trials = {
        "0": trial("COMPLETED", 0.5, learning_rate=0.123456),
        "1": trial("COMPLETED", 0.75, learning_rate=0.01, head="maxout"),
        "2": trial("INVALID", message="Traceback\nValueError: no"),
        "3": trial("RUNNING", learning_rate=0.1),
    }
    text = text_of(View(job(trials)))
    lines = [line for line in text.splitlines() if "│" in line]
    assert [line.split()[1] for line in lines] == ["1", "0", "3"]
    assert "0.7500" in lines[0] and "maxout" in lines[0]
    assert "0.123" in lines[1] and "–" in lines[1]
    assert "running" in lines[2]
    assert "3 of 10, best 0.7500" in text and "1 failed" in text


def test_the_less_the_better():
    trials = {"0": trial("COMPLETED", 0.5), "1": trial("COMPLETED", 0.75)}
    assert "best 0.5000" in View(job(trials, direction="min")).progress()


def test_pace_counts_only_what_ended_since(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(trials_table.time, "monotonic", lambda: now[0])
    trials = {"0": trial("COMPLETED", 0.5)}
    view = View(job(trials))
    assert view.progress() == "1 of 10, best 0.5000"
    trials |= {"1": trial("COMPLETED", 0.6), "2": trial("FAILED")}
    now[0] += 20
    # Two in 20 s, and seven to go.
    assert view.progress() == "3 of 10, best 0.6000, 360 trials/hour, 1 min 10 s left"


def test_a_line_for_each_trial_that_ends_where_there_is_no_terminal():
    trials = {"0": trial("COMPLETED", 0.5, learning_rate=0.1)}
    console = Console(record=True, width=200)
    with watching(job(trials), console):
        trials["1"] = trial("COMPLETED", 0.6, learning_rate=0.2)
        trials["2"] = trial("FAILED", message="Traceback\n[b]Loss[/b] became nan.")
    lines = console.export_text().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("trial 1: 0.6000 with learning_rate 0.2. 3 of 10")
    assert lines[1].startswith("trial 2: failed: [b]Loss[/b] became nan.")


def test_stages_are_told_apart():
    first, second = job({"0": trial("COMPLETED", 0.9)}), job({})
    second.tuner.oracle.trials["0"] = trial("COMPLETED", 0.8)
    tuner = SimpleNamespace(
        tuners=[first.tuner, second.tuner],
        oracle=second.tuner.oracle,
        plan=[{"trials": 8}, {"trials": 4}],
    )
    view = View(SimpleNamespace(tuner=tuner))
    # The later stage's scores count, as its trainings are whole.
    assert view.progress() == "2 of 12, best 0.8000"
    text = text_of(view)
    assert text.index("2/0") < text.index("1/0")
