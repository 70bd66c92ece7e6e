"""The README's Python runs as it stands there."""

import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]


def blocks():
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


def test_the_recipe_trains_the_backbone_at_a_tenth():
    [code] = [block for block in blocks() if "LayerwiseLearningRate" in block]
    names = {}
    exec(code, names)
    model = names["model"]
    model.fit(np.zeros((8, 32, 32, 3)), np.arange(8), verbose=0)
    multipliers = model.optimizer.multipliers
    np.testing.assert_allclose(multipliers[-2:], 1)
    np.testing.assert_allclose(multipliers[:-2], 0.1)


def test_the_search_finds_trials(tmp_path, monkeypatch):
    from sklearn.datasets import load_digits

    monkeypatch.chdir(tmp_path)
    [code] = [block for block in blocks() if "RandomSearch" in block]
    x, y = load_digits(return_X_y=True)
    names = {
        "x": x[:200] / 16,
        "y": y[:200],
        "x_val": x[200:300],
        "y_val": y[200:300],
    }
    exec(code.replace("max_trials=20", "max_trials=3"), names)
    found = names["search"].oracle.get_best_trials(3)
    assert [trial.status for trial in found] == ["COMPLETED"] * 3
    assert (tmp_path / "searches").is_dir()


def test_the_review_names_both_faults(capsys):
    [code] = [block for block in blocks() if "review(model)" in block]
    exec(code, {})
    rules = [line.partition(" ")[0] for line in capsys.readouterr().out.splitlines()]
    assert rules == ["saturating_activation", "logits"]


def test_every_command_it_names_is_one():
    """Each `hornbook` command and option in the README is in the help."""
    from typer.testing import CliRunner

    from hornbook.cli import app

    text = (ROOT / "README.md").read_text()
    commands = set(re.findall(r"bin/hornbook ([a-z]+)", text))
    assert {"finetune", "predict", "evaluate", "copy", "diff", "show"} <= commands
    runner = CliRunner()
    for command in commands:
        assert runner.invoke(app, [command, "--help"]).exit_code == 0, command
    usage = "".join(
        runner.invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
        for command in commands
    )
    options = set(re.findall(r"`(--[a-z-]+)[ `]", text)) - {"--data"}
    assert len(options) > 6
    for option in options:
        assert option in usage, option
