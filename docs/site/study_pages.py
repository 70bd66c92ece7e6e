"""A page for each study: the claim, the rule, the verdict, and every arm."""

import ast
import math
import re

import measured
import numpy as np
from words import fill

from hornbook import recipe_index
from hornbook.stats import paired_t_test

STUDIES = measured.ROOT / "studies"
LEFT_OUT = ("Command", "Writes")
FIELD = re.compile(r"([A-Z][a-z]+): +(.*)")


def pages():
    """Yields the path and the text of each page."""
    found = [_about(measured.read(name)) for name in measured.names()]
    for study in found:
        yield f"evidence/{study['name']}.md", fill("study.md", study=study)
    recipes = recipe_index.recipes()
    told = [recipe for recipe in recipes if recipe.name in recipe_index.evidence()]
    yield (
        "evidence/index.md",
        fill("evidence.md", studies=found, told=told, recipes=recipes),
    )


def table(study):
    """Each arm with its mean and spread, and its lead over the baseline.

    Args:
        study: A `measured.Measured`.

    Returns:
        A list of dicts with `arm`, `mean`, `sd`, and but for the baseline `lead`, its
        95 % `interval` and `p`; empty for a study without arms.
    """
    baseline = study.result.get("baseline")
    rows = []
    for arm, values in study.arms.items():
        row = {
            "arm": arm,
            "mean": float(np.mean(values)),
            "sd": float(np.std(values, ddof=1)),
            "lead": None,
            "instead": "baseline"
            if arm == baseline
            else "the same"
            if baseline
            else "",
        }
        leads = baseline and np.subtract(values, study.arms[baseline])
        if baseline and np.ptp(leads) > 0:
            test = paired_t_test(values, study.arms[baseline])
            row |= {"lead": test.difference, "interval": test.interval, "p": test.p}
        rows.append(row)
    return rows


def decimals(rows):
    """How many decimals of these rows mean something, by their spread."""
    spreads = [row["sd"] for row in rows if row["sd"] > 0]
    if not spreads:
        return 1
    return min(max(-math.floor(math.log10(float(np.median(spreads)))), 1), 4)


def sections(name):
    """The sections of the study notes that a study's header names."""
    source = header(name)[1].get("Source", "")
    if "the study notes" not in source:
        return []
    # What follows the semicolon is another source.
    return re.findall(
        r'"([^"]+)"', source.partition("the study notes")[2].split(";")[0]
    )


def header(name):
    """What the study's script says of itself.

    Args:
        name: Of the study.

    Returns:
        Its title, and a dict from field to text; the title alone is "" where there is
        no script of that name.
    """
    path = STUDIES / f"{name}.py"
    if not path.is_file():
        return "", {}
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    title, _, rest = docstring.partition("\n\n")
    fields, last = {}, None
    for line in rest.splitlines():
        match = FIELD.match(line)
        if match:
            last = match[1]
            fields[last] = match[2]
        elif line.startswith("  ") and last:
            fields[last] += " " + line.strip()
        else:
            last = None
    told = {name: text for name, text in fields.items() if name not in LEFT_OUT}
    return " ".join(title.split()), told


def _about(study):
    title, fields = header(study.name)
    rows = table(study)
    return {
        "name": study.name,
        "title": (title or study.name.replace("_", " ").capitalize()).rstrip("."),
        "fields": fields,
        "verdict": study.verdict,
        "because": study.result.get("because", ""),
        "rows": rows,
        "decimals": decimals(rows),
        "measure": study.result.get("measure", ""),
        "setting": study.result.get("setting", ""),
        "seeds": len(next(iter(study.arms.values()), ())),
        "picture": study.picture,
        "command": study.result.get("command", f"python studies/{study.name}.py"),
        "commit": study.result.get("commit", ""),
        "machine": study.result.get("machine", ""),
        "versions": study.result.get("versions", {}),
        "recipes": [
            recipe
            for recipe in recipe_index.recipes()
            if recipe_index.evidence().get(recipe.name, {}).get("study") == study.name
        ],
    }
