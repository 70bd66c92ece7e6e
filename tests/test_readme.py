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
    usage = runner.invoke(app, ["finetune", "--help"], env={"COLUMNS": "200"}).output
    options = set(re.findall(r"`(--[a-z-]+)[ `]", text)) - {"--data"}
    assert len(options) > 6
    for option in options:
        assert option in usage, option
