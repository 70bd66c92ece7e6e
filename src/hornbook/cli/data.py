"""`hornbook data`: lists and builds the embedded data sets."""

from pathlib import Path
from typing import Annotated

import typer

from hornbook.cli.quiet import quiet
from hornbook.errors import InputError

DATASETS = {
    "hornbook_digits": "1,797 handwritten digits, grey (UCI, from scikit-learn)",
    "hornbook_photo_digits": "the same digits over photographs, in colour",
    "hornbook_glyphs": "84,000 rendered letters and symbols, to pretrain on",
}

app = typer.Typer(no_args_is_help=True, help="List and build the embedded data sets.")


def register(parent: typer.Typer) -> None:
    """Adds the group of commands."""
    parent.add_typer(app, name="data", rich_help_panel="Fine-tuning")


@app.command("list")
def list_datasets() -> None:
    """List the embedded data sets."""
    for name, text in DATASETS.items():
        print(f"{name:<24}{text}")


@app.command()
def build(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Data sets to build. Default: the two of digits."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder for the data. Default: the folder of TFDS."),
    ] = None,
) -> None:
    """Build data sets, so that `tfds.load` finds them without a network."""
    names = names or ["hornbook_digits", "hornbook_photo_digits"]
    for name in names:
        if name.partition("/")[0] not in DATASETS:
            raise InputError(
                "The embedded data set is unknown; it must be one of "
                f"{', '.join(DATASETS)}. Received: {name}"
            )
    quiet()
    from hornbook.zoo.data.builders.embedded import build_configs

    for config, examples, folder in build_configs(names, data_dir):
        print(f"{config}: {examples} examples in {folder}", flush=True)
