"""Puts the studies' figures into the README, or says that they are not the newest.

python studies/tables.py [--check]
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMES = {
    "tfds:hornbook_photo_digits": "photo digits",
    "tfds:hornbook_digits": "grey digits",
}


# Points of top-1 accuracy on ImageNet, by the step of the ladder that is most like it.
REPORTED = {
    "random crops, ten vote (mirrored too)": "ten crops: AlexNet +1.5, ResNet-50 +1.8",
    "strong preset (mirrored too), five vote": "ResNet-50: TrivialAugment +0.3",
    "digits preset, five vote, ensemble of 3": "five AlexNets: +1.8 (top 5)",
    "digits preset, five vote, soup of 3 rates": "ViT-G: +0.2 over the best of a sweep",
}


def finetune_arms(study):
    """A table with a row for each arm and a column for each task."""
    tasks = study["tasks"]
    heads = [f"{NAMES[task['dataset']]}, {task['labels_per_class']}" for task in tasks]
    lines = [f"| way to train | {' | '.join(heads)} |", "|---" * (len(tasks) + 1) + "|"]
    for rows in zip(*(task["arms"] for task in tasks), strict=True):
        best = [max(arm["mean"] for arm in task["arms"][:5]) for task in tasks]
        cells = [_cell(arm, top) for arm, top in zip(rows, best, strict=True)]
        lines.append(f"| {rows[0]['title']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(arm, best):
    mean = f"{100 * arm['mean']:.1f}"
    spread = "" if arm["sd"] is None else f" ± {100 * arm['sd']:.1f}"
    return f"**{mean}**{spread}" if arm["mean"] == best else mean + spread


def augmentation_ladder(study):
    """A table with a row for each step, and the verdict below."""
    base = study["baseline"]
    heads = (study["measure"], "mean ± sd", "against the first", "papers, on ImageNet")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, arm in study["arms"].items():
        against = ""
        if name != base:
            low, high = arm["interval"]
            against = f"{arm['difference']:+.1f} ({low:+.1f} to {high:+.1f})"
        cells = name, f"{arm['mean']:.1f} ± {arm['sd']:.1f}", against
        lines.append(f"| {' | '.join(cells)} | {REPORTED.get(name, '')} |")
    seeds = f"{len(study['seeds'])} seeds, {study['setting']}"
    lines += ["", f"{seeds}; intervals of 95 %, paired by seed. {study['because']}"]
    return "\n".join(lines) + "\n"


TABLES = {"finetune_arms": finetune_arms, "augmentation_ladder": augmentation_ladder}


def main(arguments):
    """Writes the README, or with --check compares it; returns the exit status."""
    readme = ROOT / "README.md"
    text = new = readme.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        path = ROOT / f"docs/studies/{name}.json"
        study = json.loads(path.read_text(encoding="utf-8"))
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, rest = new.split(begin)
        new = before + begin + table(study) + end + rest.split(end)[1]
    if "--check" in arguments and new != text:
        print("README.md is stale: run `python studies/tables.py`.", file=sys.stderr)
        return 1
    if new != text:
        readme.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
