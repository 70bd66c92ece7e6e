"""The report of a diagnosis, as one self-contained HTML file."""

import base64
import os
import tempfile
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from hornbook.files import atomic_write
from hornbook.pages.figures import save_figure
from hornbook.pages.page import environment
from hornbook.zoo.doctor.diagnose import Diagnosis
from hornbook.zoo.doctor.figures import (
    MOST_LAYERS,
    draw_distributions,
    draw_layers,
    draw_verdict,
    shown_layers,
)
from hornbook.zoo.doctor.finding import Finding


def write_report(
    path: str | os.PathLike,
    diagnosis: Diagnosis,
    target: str | os.PathLike,
    command: str = "",
) -> Path:
    """Writes a diagnosis as a page.

    Args:
        path: Path of the file to write, such as "doctor.html".
        diagnosis: A `Diagnosis`.
        target: What was diagnosed, for the title.
        command: The command line, for the footer.

    Returns:
        Path of the report.
    """
    path = Path(path)
    log = diagnosis.log
    html = (
        environment(Path(__file__).parent)
        .get_template("report.html.j2")
        .render(
            diagnosis=diagnosis,
            target=str(target),
            command=command,
            curves=log.curves and _picture(draw_verdict(log)),
            distributions=log.rows and _picture(draw_distributions(log)),
            layers=log.rows and _picture(draw_layers(log)),
            left_out=len(shown_layers(log)) == MOST_LAYERS,
        )
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as new:
        new.write_text(html, encoding="utf-8", errors="replace")
    return path


def as_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """A diagnosis as a dict for JSON."""

    def listed(findings: list[Finding]) -> list[dict[str, Any]]:
        return [vars(each) for each in findings]

    curves = diagnosis.curves
    return {
        "healthy": diagnosis.healthy,
        "findings": listed(diagnosis.findings),
        "consequences": listed(diagnosis.consequences),
        "curves": curves and vars(curves),
        "actions": diagnosis.actions,
    }


def _picture(figure: Figure | None) -> str | None:
    if figure is None:
        return None
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        save_figure(figure, file.name)
        data = Path(file.name).read_bytes()
    return "data:image/png;base64," + base64.b64encode(data).decode()
