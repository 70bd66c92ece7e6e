"""The report of a diagnosis: one HTML file that needs nothing beside it."""

import base64
import tempfile
from pathlib import Path

from hornbook.files import atomic_write
from hornbook.pages.figures import save_figure
from hornbook.pages.page import environment
from hornbook.zoo.doctor.figures import (
    MOST_LAYERS,
    draw_distributions,
    draw_layers,
    draw_verdict,
    shown_layers,
)


def write_report(path, diagnosis, target, command=""):
    """Writes a diagnosis as a page.

    Args:
        path: File to write, such as "doctor.html".
        diagnosis: A `Diagnosis`.
        target: What was diagnosed, for the title.
        command: What the user typed, for the record.

    Returns:
        Path of the report.
    """
    path = Path(path)
    run = diagnosis.run
    html = (
        environment(Path(__file__).parent)
        .get_template("report.html.j2")
        .render(
            diagnosis=diagnosis,
            target=str(target),
            command=command,
            curves=run.curves and _picture(draw_verdict(run)),
            distributions=run.rows and _picture(draw_distributions(run)),
            layers=run.rows and _picture(draw_layers(run)),
            left_out=len(shown_layers(run)) == MOST_LAYERS,
        )
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as new:
        new.write_text(html, encoding="utf-8", errors="replace")
    return path


def as_dict(diagnosis):
    """A diagnosis for JSON."""

    def listed(findings):
        return [vars(each) for each in findings]

    curves = diagnosis.curves
    return {
        "healthy": diagnosis.healthy,
        "findings": listed(diagnosis.findings),
        "consequences": listed(diagnosis.consequences),
        "curves": curves and vars(curves),
        "actions": diagnosis.actions,
    }


def _picture(figure):
    if figure is None:
        return None
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        save_figure(figure, file.name)
        data = Path(file.name).read_bytes()
    return "data:image/png;base64," + base64.b64encode(data).decode()
