"""`hornbook shift`: whether a test set is like the training set."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from hornbook.cli.quiet import quiet
from hornbook.errors import InputError


def register(app):
    """Adds the command."""
    app.command(rich_help_panel="Fine-tuning")(shift)


def shift(
    train: Annotated[
        str,
        typer.Option(
            help="Training set: folder:PATH (one folder a class), tfds:NAME, npz:FILE."
        ),
    ],
    test: Annotated[
        str,
        typer.Option(
            help="Test set, the same; folder:PATH may hold pictures without classes."
        ),
    ],
    backbone: Annotated[
        str,
        typer.Option(
            help="What sees them: glyphnet.letters_rgb (colour) or "
            "glyphnet.letters_grey."
        ),
    ] = "glyphnet.letters_rgb",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to make. Default: shift/1, shift/2, ..."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the folds and permutations.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    skip_unreadable: Annotated[
        bool, typer.Option(help="Go on without files that can't be read.")
    ] = False,
):
    """Say whether a test set is like the training set, and what differs.

    Writes a report with the pictures that look most and least like the test set, and
    weights to train with. Labels of the test set are not looked at.
    """
    if out is not None and (out.is_file() or (out.is_dir() and any(out.iterdir()))):
        raise InputError(
            f"The folder is not empty; choose another --out. Received: {out}"
        )
    quiet()
    from hornbook.cli.progress import Bars
    from hornbook.zoo.runs.run import free_folder
    from hornbook.zoo.shift.compare_datasets import compare
    from hornbook.zoo.shift.report import as_dict, write_report

    comparison = compare(
        train,
        test,
        backbone,
        seed=seed,
        skip_unreadable=skip_unreadable,
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
