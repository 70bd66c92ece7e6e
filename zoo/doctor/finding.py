"""What a rule finds, and the lists of rules."""

from collections.abc import Callable
from dataclasses import dataclass

RULES: list[Callable] = []  # on a model and its data: from a `Look`
RUN_RULES: list[Callable] = []  # on a training: from a `Run`


@dataclass(frozen=True)
class Finding:
    """One thing to change.

    Attributes:
        rule: The rule's name.
        layer: Path of the layer, or "" where it is the model as a whole.
        evidence: What was seen, with numbers.
        why: Why it matters, and who says so.
        change: What to do.
        level: "finding", or "note" where it is usual and seldom does harm.
    """

    rule: str
    layer: str
    evidence: str
    why: str
    change: str
    level: str = "finding"

    def __str__(self):
        where = f" at {self.layer}" if self.layer else ""
        return f"{self.rule}{where}: {self.evidence}. {self.why} {self.change}"


def rule(why, change, rules=RULES):
    """Adds a rule: a function that yields `(layer, evidence)`, perhaps with a level."""

    def add(function):
        rules.append((function, why, change))
        return function

    return add


def apply(rules, seen):
    """What rules find.

    Args:
        rules: `RULES` or `RUN_RULES`.
        seen: What they look at.

    Returns:
        List of `Finding`, in the order of the rules.
    """
    return [
        Finding(function.__name__, layer, evidence, why, change, *level)
        for function, why, change in rules
        for layer, evidence, *level in function(seen)
    ]
