"""`hornbook zoo`: lists the backbones, and shares fine-tuned models."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hornbook.errors import InputError

app = typer.Typer(no_args_is_help=True, help="List backbones; share fine-tuned models.")

Trust = Annotated[
    bool, typer.Option("--trust", help="Accept a model file that carries code.")
]
Place = Annotated[str, typer.Argument(help="Zoo folder: a path, gs://... or s3://...")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(parent: typer.Typer) -> None:
    """Adds the group of commands."""
    parent.add_typer(app, name="zoo", rich_help_panel="Fine-tuning")


@app.command("list")
def list_backbones(
    source: Annotated[
        str | None, typer.Option(help="ours, keras or hub (KerasHub). Default: all.")
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="Family, such as resnet or mobilenet_v2.")
    ] = None,
    max_params: Annotated[
        str | None,
        typer.Option(
            help="Largest number of parameters without the head, such as 5000000 or 5M."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the backbones that can be fine-tuned."""
    from hornbook.zoo.backbones.table import list_backbones

    rows = list_backbones(source, family, _number(max_params))
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    width = max((len(row["id"]) for row in rows), default=0) + 2
    for row in rows:
        print(f"{row['id']:<{width}}{_millions(row):>9}  {_summary(row)}")


def _number(text: str | None) -> float | None:
    """5M or 250k or 1000 as a number."""
    if text is None:
        return None
    unit = {"k": 1e3, "m": 1e6, "b": 1e9}.get(text[-1:].lower(), 1)
    try:
        return float(text[:-1] if unit > 1 else text) * unit
    except ValueError:
        raise InputError(
            f"--max-params takes a number such as 5000000 or 5M. Received: {text}"
        ) from None


def _millions(row: dict[str, Any]) -> str:
    count = row["parameters"]
    if count is None:
        return "?"
    return f"{count / 1e6:.2f} M" if count < 1e8 else f"{count / 1e6:.0f} M"


def _summary(row: dict[str, Any]) -> str:
    shape = row.get("input_shape")
    if shape is None:
        return row.get("description", row["kind"])
    norm = "BatchNorm" if row["has_batchnorm"] else "no BatchNorm"
    return f"{'×'.join(map(str, shape))}, {norm}, {row['weights'] or 'no weights'}"


@app.command()
def show(
    id: Annotated[
        str, typer.Argument(help="Id of a backbone, such as keras/mobilenet_v2.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show the card of a backbone."""
    from hornbook.zoo.backbones.table import find

    row = dict(find(id))
    if as_json:
        print(json.dumps(row, ensure_ascii=False))
        return
    defaults = row.pop("fine_tuning", {})
    for key, value in [*row.items(), *defaults.items()]:
        print(f"{key.replace('_', ' '):<15}{_text(value)}")


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " × ".join(map(str, value))
    if isinstance(value, int):
        return f"{value:,}"
    return "none" if value is None else value


@app.command()
def add(
    run: Annotated[
        Path, typer.Argument(help="Folder of a finished run, such as `runs/1`.")
    ],
    folder: Place,
    id: Annotated[
        str | None,
        typer.Option(
            help="Name of the model there. Default: the names of backbone and data."
        ),
    ] = None,
    trust: Trust = False,
) -> None:
    """Copy a fine-tuned run into a zoo folder, with a card."""
    from hornbook.zoo.share.folder import add

    card = add(run, folder, id, safe_mode=not trust)
    count = len(card["files"])
    print(f"{folder.rstrip('/')}/{card['id']}: {count} files and their card")


@app.command()
def pull(
    id: Annotated[str, typer.Argument(help="Name of the model.")],
    folder: Place,
    to: Annotated[
        Path | None, typer.Option(help="Folder to write to. Default: ./ID.")
    ] = None,
    trust: Trust = False,
) -> None:
    """Copy a model from a zoo folder, after checking it, to use it as a run folder."""
    from hornbook.zoo.share.folder import pull

    path = pull(id, folder, to, safe_mode=not trust)
    print(f"{path}: try `hornbook predict {path} PICTURE`")


@app.command()
def verify(folder: Place) -> None:
    """Check every file in a zoo folder against the hashes on the cards."""
    from hornbook.zoo.share.folder import verify

    found = verify(folder)
    for id, problems in found.items():
        print(f"{id}: {'matches its card' if not problems else ''}".rstrip(": "))
        for problem in problems:
            print(f"  {problem}")
    if any(found.values()):
        raise typer.Exit(1)
