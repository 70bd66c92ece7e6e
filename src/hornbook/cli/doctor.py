"""`hornbook doctor`: finds the problems of a run, a model or a history."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from hornbook.cli.quiet import quiet


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(rich_help_panel="Fine-tuning")(doctor)


def doctor(
    target: Annotated[
        Path,
        typer.Argument(help="Run folder, model.keras, history.csv or monitor.csv."),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            help="FILE.npz with x and y, and optionally x_val and y_val, to check "
            "inputs, labels and activations too."
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Batch size of the training.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Report to write. Default: doctor.html next to the target."),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Open a model file that carries code."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Diagnose a training, and say what to change first."""
    quiet()
    from hornbook.zoo.doctor.from_path import diagnose_path
    from hornbook.zoo.doctor.report import as_dict, write_report

    diagnosis = diagnose_path(target, data, batch_size, not trust)
    folder = target if target.is_dir() else target.parent
    report = write_report(
        out or folder / "doctor.html",
        diagnosis,
        target,
        command=shlex.join(["hornbook", *sys.argv[1:]]),
    )
    if as_json:
        found = {**as_dict(diagnosis), "report": str(report)}
        print(json.dumps(found, ensure_ascii=False))
        return
    print(diagnosis)
    print(f"Report: {report}")
