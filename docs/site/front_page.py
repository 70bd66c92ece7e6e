"""The front page: what it does, in one screen, with one result."""

import json

import measured
from words import fill

from hornbook import recipe_index


def pages():
    """Yields the path and the text of the page."""
    recipes = recipe_index.recipes()
    told = [each for each in recipes if each.name in recipe_index.evidence()]
    yield (
        "index.md",
        fill(
            "front.md",
            recipes=recipes,
            told=told,
            bars=_bars(),
            studies=measured.names(),
        ),
    )


def _bars():
    """The arms of the first task of the fine-tuning study, in %."""
    path = measured.STUDIES / "finetune_arms.json"
    task = json.loads(path.read_text(encoding="utf-8"))["tasks"][0]
    arms = [arm for arm in task["arms"] if arm["sd"] is not None][:5]
    best = max(arm["mean"] for arm in arms)
    return [
        {
            "title": arm["title"],
            "mean": 100 * arm["mean"],
            "sd": 100 * arm["sd"],
            "best": arm["mean"] == best,
        }
        for arm in arms
    ]
