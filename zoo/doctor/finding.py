"""What a rule finds, and the lists of rules."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

# Layer and evidence, optionally with a level.
Found = tuple[str, str] | tuple[str, str, str]
Rule = Callable[[Any], Iterable[Found]]

RULES: list[tuple[Rule, str, str]] = []  # for a `ModelInspection`
RUN_RULES: list[tuple[Rule, str, str]] = []  # for a `TrainingLog`


@dataclass(frozen=True)
class Finding:
    """One problem, with a change that solves it.

    Attributes:
        rule: Name of the rule.
        layer: Path of the layer, or "" for the model as a whole.
        evidence: What was observed, with numbers.
        why: Why it matters, with the source.
        change: What to change.
        level: "finding", or "note" for what is common and rarely does harm.
    """

    rule: str
    layer: str
    evidence: str
    why: str
    change: str
    level: str = "finding"

    def __str__(self) -> str:
        where = f" at {self.layer}" if self.layer else ""
        return f"{self.rule}{where}: {self.evidence}. {self.why} {self.change}"


def rule(
    why: str, change: str, rules: list[tuple[Rule, str, str]] = RULES
) -> Callable[[Rule], Rule]:
    """Adds a rule: a function that yields `(layer, evidence)`, optionally with a level.

    Args:
        why: Why what it finds matters, with the source.
        change: What to change.
        rules: The list that the rule is added to.
    """

    def add(function: Rule) -> Rule:
        rules.append((function, why, change))
        return function

    return add


def apply(rules: list[tuple[Rule, str, str]], subject: Any) -> list[Finding]:
    """Applies rules.

    Args:
        rules: `RULES` or `RUN_RULES`.
        subject: A `ModelInspection` or a `TrainingLog`.

    Returns:
        List of `Finding`, in the order of the rules.
    """
    return [
        Finding(function.__name__, layer, evidence, why, change, *level)
        for function, why, change in rules
        for layer, evidence, *level in function(subject)
    ]
