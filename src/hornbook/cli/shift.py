"""`hornbook shift`: whether a test set is distributed like the training set."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from hornbook.cli.quiet import quiet
from hornbook.errors import InputError


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(rich_help_panel="Fine-tuning")(shift)


def shift(
    train: Annotated[
        str,
        typer.Option(
            help="Training set: folder:PATH (one folder per class), csv:FILE, "
            "tfds:NAME or npz:FILE."
        ),
    ],
    test: Annotated[
        str,
        typer.Option(
            help="Test set, given in the same way; folder:PATH may hold images "
            "without class folders."
        ),
    ],
    backbone: Annotated[
        str,
        typer.Option(
            help="Backbone whose features are compared: any id of `hornbook zoo "
            "list`, or a .keras file."
        ),
    ] = "glyphnet.letters_rgb",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write to. Default: shift/1, shift/2, ..."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    skip_unreadable: Annotated[
        bool, typer.Option(help="Skip files that cannot be read.")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Open a model file that carries code.")
    ] = False,
) -> None:
    """Compare a test set with the training set, and say how they differ.

    Writes a report with the images that look most and least like the other set, and
    sample weights for training. Labels of the test set are not used.
    """
    if out is not None and (out.is_file() or (out.is_dir() and any(out.iterdir()))):
        raise InputError(
            f"The output folder is not empty; choose another --out. Received: {out}"
        )
    quiet()
    from hornbook.progress import Bars
    from hornbook.run_folder import free_folder
    from hornbook.zoo.shift.compare_datasets import compare_datasets
    from hornbook.zoo.shift.report import as_dict, write_report

    comparison = compare_datasets(
        train,
        test,
        backbone,
        seed=seed,
        skip_unreadable=skip_unreadable,
        safe_mode=not trust,
        progress=Bars(),
    )
    found = as_dict(
        comparison,
        command=shlex.join(["hornbook", *sys.argv[1:]]),
        train=train,
        test=test,
        backbone=backbone,
        seed=seed,
    )
    report = write_report(out or free_folder("shift"), comparison, found)
    if as_json:
        print(json.dumps({**found, "report": str(report)}, ensure_ascii=False))
        return
    print(found["verdict"])
    for notice in found["notices"]:
        print(f"  {notice}")
    for each in found["measures"]:
        print(
            f"  {each['name']:<14} mean {each['effect']:+.2f} sd, spread × "
            f"{each['spread']:.2f}, KS {each['ks']:.2f}"
        )
    print(comparison.covariate)
    print(found["concept_shift"])
    print(f"Report: {report}")
