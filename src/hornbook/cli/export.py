"""`hornbook export`: exports a fine-tuned model for other programs."""

import os
from pathlib import Path
from typing import Annotated

import typer

from hornbook.cli.quiet import quiet
from hornbook.errors import InputError

FORMATS = ("savedmodel", "onnx", "tflite", "openvino", "torch")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(rich_help_panel="Fine-tuning")(export)


def export(
    run: Annotated[Path, typer.Argument(help="A finished run, such as `runs/1`.")],
    format: Annotated[str, typer.Option(help=f"One of {', '.join(FORMATS)}.")],
    out: Annotated[
        Path | None,
        typer.Option(help="File or folder to write. Default: in the run folder."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=8, help="Side of the images in pixels. Default: as in training."
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Open a model file that carries code.")
    ] = False,
) -> None:
    """Export a fine-tuned model, and check that its outputs stay the same."""
    if format not in FORMATS:
        raise InputError(
            f"--format must be one of {', '.join(FORMATS)}. Received: {format}"
        )
    if format == "torch":
        # Keras exports to torch only from its torch backend.
        os.environ.setdefault("KERAS_BACKEND", "torch")
    quiet()
    from hornbook.zoo.share.export import export_run

    done = export_run(run, format, out, size, safe_mode=not trust)
    print(
        f"{done.path}: {done.megabytes:.1f} MB, images {done.shape}; outputs differ by "
        f"at most {done.difference:.1e} on {done.checked} images"
    )
