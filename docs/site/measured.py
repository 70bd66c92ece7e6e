"""The studies' results in one shape, whatever shape their JSON has.

A study has arms; an arm has a value for each seed. Studies of the shared harness say so
themselves; the earlier ones have a reader here.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "docs/studies"
TASKS = {
    "tfds:hornbook_photo_digits": "photo digits",
    "tfds:hornbook_digits": "grey digits",
}


@dataclass(frozen=True)
class Measured:
    """What a study found.

    Attributes:
        name: Of its JSON.
        result: The JSON.
        arms: For each arm, in words, its value for each seed.
    """

    name: str
    result: dict
    arms: dict[str, list[float]] = field(default_factory=dict)

    @property
    def verdict(self):
        """`holds`, `partly`, `not here`, or "" where the study has no rule."""
        return self.result.get("verdict", "")

    @property
    def picture(self):
        """Its PNG or SVG, or None."""
        paths = (STUDIES / f"{self.name}.{end}" for end in ("svg", "png"))
        return next((path for path in paths if path.is_file()), None)


def read(name):
    """Reads a study's JSON.

    Args:
        name: Its name, without the ending.

    Returns:
        A `Measured`.
    """
    text = (STUDIES / f"{name}.json").read_text(encoding="utf-8")
    result = json.loads(text)
    return Measured(name, result, _arms(result))


def names():
    """The studies that wrote a result, and not only data for another."""
    return sorted(
        path.stem
        for path in STUDIES.glob("*.json")
        if isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    )


def _arms(result):
    if isinstance(result.get("arms"), dict):
        return {
            arm: row["values"]
            for arm, row in result["arms"].items()
            if len(row.get("values", ())) > 1
        }
    if "rows" in result:
        return {
            f"{row['evaluations']} evaluations: {title}": row[arm]["values"]
            for row in result["rows"]
            for arm, title in (("adam", "Adam"), ("lbfgs", "L-BFGS"))
            if "evaluations" in row and arm in row
        }
    return dict(_arms_of_tasks(result.get("tasks", ())))


def _arms_of_tasks(tasks):
    for task in tasks if isinstance(tasks, list) else ():
        for model, arms in task.get("models", {}).items():
            for arm, row in arms.items():
                yield f"{task['shift']}: {model}: {arm}", row["accuracies"]
        if "dataset" in task:
            where = f"{TASKS[task['dataset']]}, {task['labels_per_class']} a class"
            for row in task["arms"]:
                if len(row["accuracies"]) > 1:
                    values = [100 * value for value in row["accuracies"]]
                    yield f"{where}: {row['title']}", values
