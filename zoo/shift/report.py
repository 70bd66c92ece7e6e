"""The result of a comparison in words, as numbers and as a page."""

import base64
import csv
import os
from pathlib import Path
from typing import Any

from hornbook.files import atomic_write, write_json
from hornbook.pages.figures import save_figure
from hornbook.pages.page import environment
from hornbook.recipes.data.covariate_shift_weights import NOTE
from hornbook.recipes.data.detect_shift import CONCEPT, KIND
from hornbook.zoo.shift.compare_datasets import Comparison
from hornbook.zoo.shift.figures import draw_contact_sheet, extremes
from hornbook.zoo.shift.measures import WORDS

DEGREES = ((0.6, "slightly"), (0.8, "clearly"), (1.01, "strongly"))  # by AUC


def verdict(comparison: Comparison) -> str:
    """Summarizes a comparison in a few sentences.

    Args:
        comparison: A `Comparison`.

    Returns:
        Text.
    """
    report = comparison.report
    told = f"AUC {report.auc:.2f}, p = {report.p_value:.2g}"
    if report.inputs_shifted:
        degree = next(word for below, word in DEGREES if report.auc < below)
        sentences = [
            f"The test images differ {degree} from the training images ({told})."
        ]
        looks = [
            f"{WORDS[each.name][each.effect < 0]} ({each.effect:+.1f} sd)"
            for each in comparison.measures
            if each.p_value <= report.alpha and abs(each.effect) >= 0.2
        ]
        sentences.append(
            f"They are {', '.join(looks)}."
            if looks
            else "Measures such as brightness do not show how: see the images."
        )
    else:
        sentences = [f"The test images look like the training images ({told})."]
    if report.class_p_value is not None:
        told = f"p = {report.class_p_value:.2g}"
        if report.classes_shifted:
            moved = [
                f"{each.name} ({each.train:.0%} to {each.test:.0%})"
                for each in report.moved_classes[:5]
            ]
            named = f": {', '.join(moved)}" if moved else ""
            sentences.append(
                f"The proportions of predicted classes differ ({told}){named}."
            )
        else:
            sentences.append(
                f"The proportions of predicted classes do not differ ({told})."
            )
    if report.inputs_shifted or report.classes_shifted:
        sentences.append(KIND)
    return " ".join(sentences)


def as_dict(comparison: Comparison, **given: Any) -> dict[str, Any]:
    """A comparison as a dict for JSON.

    Args:
        comparison: A `Comparison`.
        **given: The arguments of the comparison, for the record.
    """
    report, label = comparison.report, comparison.label
    covariate = comparison.covariate
    classes = []
    for k, each in enumerate(report.classes):
        estimated = None if label is None else float(label.test_priors[k])
        weight = None if label is None else float(label.class_weight[k])
        classes.append({**each._asdict(), "estimated": estimated, "weight": weight})
    return {
        **given,
        "verdict": verdict(comparison),
        "counts": dict(zip(("train", "test"), comparison.counts, strict=True)),
        "inputs": {
            "shifted": report.inputs_shifted,
            "auc": report.auc,
            "p_value": report.p_value,
            "alpha": report.alpha,
            "compared": list(report.counts),
        },
        "measures": [each._asdict() for each in comparison.measures],
        "class_mix": classes
        and {
            "shifted": report.classes_shifted,
            "p_value": report.class_p_value,
            "condition": label and label.condition,
            "effective_size": label and label.effective_size,
            "classes": classes,
        },
        "covariate_weights": {
            "effective_size": covariate.effective_size,
            "largest": float(covariate.sample_weight.max()),
            "clipped": covariate.clipped,
        },
        "images": {
            title: list(examples.names)
            for title, examples in extremes(comparison).items()
        },
        "notices": list(comparison.notices),
        "concept_shift": CONCEPT,
        "weights_note": NOTE,
    }


def write_report(
    folder: str | os.PathLike, comparison: Comparison, found: dict[str, Any]
) -> Path:
    """Writes report.html, examples.png, shift.json and weights.csv into a folder.

    Args:
        folder: Path of the folder, which is created if needed.
        comparison: A `Comparison`.
        found: The comparison as a dict, from `as_dict`.

    Returns:
        Path of the report.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "examples.png") as new:
        save_figure(draw_contact_sheet(extremes(comparison)), new)
        sheet = new.read_bytes()
    write_json(folder / "shift.json", found)
    _write_weights(folder / "weights.csv", comparison)
    html = (
        environment(Path(__file__).parent)
        .get_template("report.html.j2")
        .render(
            found, sheet="data:image/png;base64," + base64.b64encode(sheet).decode()
        )
    )
    with atomic_write(folder / "report.html") as new:
        new.write_text(html, encoding="utf-8", errors="replace")
    return folder / "report.html"


def _write_weights(path: Path, comparison: Comparison) -> None:
    """Writes a line for each training image, with a weight for each kind of shift."""
    label = comparison.label
    weights = comparison.covariate.sample_weight.tolist()
    columns = {"image": comparison.names, "covariate": weights}
    if label is not None:
        columns["label"] = label.sample_weight.tolist()
    with (
        atomic_write(path) as new,
        open(new, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
