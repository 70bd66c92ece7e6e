"""Writes the line of evidence that `hornbook list` and `show` give for each recipe.

    python docs/site/evidence.py [--check]

It reads `evidence.toml` and the studies' JSON, and writes `src/hornbook/evidence.json`,
which the wheel carries. With --check it writes nothing and fails where that is stale.

A verdict is the study's own where the study's claim is the recipe's. Otherwise this
rule decides, over the comparisons that `evidence.toml` names:

- holds: each is better, with p < 0.05 in Student's paired t-test over the seeds;
- not here: none is better, on average;
- partly: anything else.
"""

import json
import sys
import tomllib
from pathlib import Path

import measured

from hornbook.stats import paired_t_test

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "src/hornbook/evidence.json"
SURE = 0.05


def lines():
    """The evidence of each recipe that has any.

    Returns:
        Dict from a recipe's name to `study` or `test`, `verdict`, `figure` and `seeds`.
    """
    entries = tomllib.loads((HERE / "evidence.toml").read_text(encoding="utf-8"))
    return {recipe: _evidence(entry) for recipe, entry in sorted(entries.items())}


def _evidence(entry):
    if "test" in entry:
        return {**entry, "verdict": "tested", "seeds": None}
    study = measured.read(entry["study"])
    if "figure" in entry:
        return {
            "study": study.name,
            "verdict": study.verdict or "measured",
            "figure": entry["figure"].format(**study.result),
            "seeds": len(study.result.get("seeds", ())) or None,
        }
    rows = [_compare(study, **pair) for pair in entry["compare"]]
    unit, decimals = entry["unit"]
    figures = [
        f"{row['difference']:+.{decimals}f}"
        + (f" {unit}" if row is rows[0] else "")
        + ("" if row["p"] < SURE else f" (p = {row['p']:.2f})")
        + f" against {row['as']}"
        for row in rows
    ]
    return {
        "study": study.name,
        "verdict": study.verdict if entry.get("claim") else _verdict(rows),
        "figure": "; ".join(figures),
        "seeds": len(study.arms[entry["compare"][0]["arm"]]),
    }


def _compare(study, arm, over, lower=False, detail=None, **words):
    ours, theirs = (
        study.arms[name]
        if detail is None
        else [seed[detail] for seed in study.result["arms"][name]["details"]]
        for name in (arm, over)
    )
    difference, _, p = paired_t_test(ours, theirs)
    return {
        "difference": difference,
        "better": difference < 0 if lower else difference > 0,
        "p": p,
        "as": words.get("as", over),
    }


def _verdict(rows):
    if all(row["better"] and row["p"] < SURE for row in rows):
        return "holds"
    return "partly" if any(row["better"] for row in rows) else "not here"


def main(arguments):
    """Writes the file, or with --check compares it; returns the exit status."""
    text = json.dumps(lines(), indent=1, ensure_ascii=False) + "\n"
    if "--check" not in arguments:
        OUT.write_text(text, encoding="utf-8")
    elif not OUT.is_file() or OUT.read_text(encoding="utf-8") != text:
        print(
            "evidence.json is stale: run `python docs/site/evidence.py`.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
