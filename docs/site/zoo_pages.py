"""The shipped weights, every backbone that can be fine-tuned, and the data sets."""

import json

import measured
from words import fill

ZOO = measured.ROOT / "zoo"
SOURCES = {"ours": "Ours", "keras": "keras.applications", "hub": "KerasHub"}


def pages():
    """Yields the path and the text of each page."""
    cards = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((ZOO / "cards").glob("*.json"))
    ]
    for card in cards:
        yield f"zoo/{card['id']}.md", fill("card.md", card=card, facts=_facts(card))
    table = ZOO / "backbones/table.json"
    rows = json.loads(table.read_text(encoding="utf-8")) if table.is_file() else []
    if rows:
        yield "zoo/backbones.md", fill("backbones.md", rows=rows, sources=SOURCES)
    yield "zoo/index.md", fill("zoo.md", cards=cards, rows=rows)


def _facts(card):
    """What a card tells, as pairs of a label and a text, without what it leaves out."""
    share, chance = card.get("validation_accuracy"), card.get("chance", 0)
    made = [f"`{card['command']}`"] if "command" in card else []
    made += [f"{card['epochs']} epochs"] if "epochs" in card else []
    made += [f"seed {card['seed']}"] if "seed" in card else []
    made += [f"{card['seconds'] / 60:.0f} minutes"] if "seconds" in card else []
    facts = {
        "Learned from": card.get("data"),
        "Top-1 there": share
        and f"{share:.1%} of held-out examples; chance is {chance:.0%}",
        "Pixels": card.get("preprocessing"),
        "Widths": ", ".join(map(str, card.get("widths", ()))),
        "Made by": ", ".join(made),
        "Licence": card.get("licence"),
        "sha256": f"`{card['sha256']}`",
    }
    return [(label, text) for label, text in facts.items() if text]
