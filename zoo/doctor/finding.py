"""What a rule finds, and the list of rules."""

from dataclasses import dataclass

RULES = []


@dataclass(frozen=True)
class Finding:
    """One thing to change.

    Attributes:
        rule: The rule's name.
        layer: Path of the layer, or "" where it is the model as a whole.
        evidence: What was seen, with numbers.
        why: Why it matters, and who says so.
        change: What to do.
    """

    rule: str
    layer: str
    evidence: str
    why: str
    change: str

    def __str__(self):
        where = f" at {self.layer}" if self.layer else ""
        return f"{self.rule}{where}: {self.evidence}. {self.why} {self.change}"


def rule(why, change):
    """Adds a rule: a function from a `Look` to `(layer, evidence)` pairs."""

    def add(function):
        RULES.append((function, why, change))
        return function

    return add
