"""`hornbook tune`: search for hyperparameters, and say what was found."""

import logging
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hornbook.cli.quiet import quiet
from hornbook.errors import InputError

INTERRUPTED = 130  # What a shell gives a program that Ctrl-C ended.


def register(app):
    """Adds the command."""
    app.command(rich_help_panel="Tuning")(tune)


def tune(
    space: Annotated[
        str | None,
        typer.Option(
            help="finetune (the default), head, cnn, table, or a Python file with "
            "`build(hp)`."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="folder:PATH (one folder a class), tfds:NAME, npz:FILE, or csv:FILE "
            "for table. Default: the space's own, else the embedded digits."
        ),
    ] = None,
    labels_per_class: Annotated[
        int | None, typer.Option(help="Labelled examples of each class. Default: all.")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            help="Default: 30. For coarse-to-fine: trains as much as so many trials."
        ),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            help="random (the default), grid, bayesian, hyperband or coarse-to-fine."
        ),
    ] = None,
    stages: Annotated[
        str | None,
        typer.Option(help="Of coarse-to-fine. Default: random,random; or with grid."),
    ] = None,
    find_rate: Annotated[
        str | None,
        typer.Option(
            help="Of coarse-to-fine: the hyperparameter that the rate finder narrows "
            "first.",
            metavar="NAME",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Of a training. Default: the space's own.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Cross-validate each trial. Default: no.")
    ] = None,
    executions: Annotated[
        int | None,
        typer.Option(help="Trainings of a trial, from other seeds. Default: 1."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of all that is random. Default: 0.")
    ] = None,
    prune: Annotated[
        str | None,
        typer.Option(help="End random trials early: median or halving. Default: no."),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(help="Which epochs count: best (the default), last or mean:K."),
    ] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE, or a JSON file of them: these are not searched. "
            "Can be repeated.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes to run trials in. Default: none.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="ray: run trials on a Ray cluster.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Of the Ray cluster. Default: one made here."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to make. Default: tune/1, tune/2, ...")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Folder of a search to go on with.")
    ] = None,
    test: Annotated[
        bool, typer.Option(help="At the end, test the best model, once.")
    ] = False,
    skip_unreadable: Annotated[
        bool, typer.Option(help="Go on without files that can't be read.")
    ] = False,
    copy: Annotated[
        str | None,
        typer.Option(
            help="Only copy a ready space into this folder, to change it.",
            metavar="SPACE",
        ),
    ] = None,
):
    """Search for hyperparameters: by default 30 ways to fine-tune on embedded digits.

    Writes a report, the best model, and a folder to go on from after an interruption.
    """
    if copy is not None:
        _copy(copy)
        return
    settings: dict[str, Any] = {
        "space": space,
        "data": data,
        "labels_per_class": labels_per_class,
        "trials": trials,
        "search": search,
        "stages": stages and tuple(stages.split(",")),
        "find_rate": find_rate,
        "epochs": epochs,
        "folds": folds,
        "executions": executions,
        "seed": seed,
        "prune": prune,
        "score": score,
        "fixed": _read_fixed(fix) if fix else None,
        "skip_unreadable": skip_unreadable or None,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    _check(given, out, resume, engine, workers, address)

    quiet()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from hornbook.cli.progress import Bars
    from hornbook.cli.trials_table import watching
    from hornbook.tuning.runs import finish, run
    from hornbook.tuning.runs.settings import Settings
    from hornbook.zoo.runs.run import free_folder

    bars = Bars()
    say = bars.console.print
    executor = _make_executor(engine, workers, address)
    if resume is not None:
        folder = resume
        job = run.reopen(folder, executor, bars)
    else:
        folder = out or free_folder("tune")
        command = shlex.join(["hornbook", *sys.argv[1:]])
        job = run.create(Settings(**given), folder, command, executor, bars)
    if test and job.data.test is None:
        raise InputError("There is no test set, so leave out --test.")
    say(run.describe(job), highlight=False, soft_wrap=True)
    for notice in job.data.notices:
        say(f"  {notice}", highlight=False, soft_wrap=True)

    failure = None
    try:
        with watching(job, bars.console):
            job.tuner.search(**job.arguments)
        finish.mark_ended(job)
    except KeyboardInterrupt:
        failure = "Interrupted."
    except RuntimeError as error:  # keras-tuner's, after three failures in a row.
        failure = f"The search has ended early: {str(error).splitlines()[0]}"
    say("Writing the report", highlight=False)
    best = finish.keep_best(job)
    if test and failure is None and best is not None:
        finish.test_once(job)
    report = finish.write_report(job)
    for line in finish.summarise(job, best):
        say(line, highlight=False, soft_wrap=True)
    print(f"Report: {report}")
    if failure is not None:
        say(f"{failure} Go on with: {finish.resume_command(folder)}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED if failure == "Interrupted." else 1)


def _copy(name):
    from hornbook.tuning.runs.space_file import find

    source = find(name)
    target = Path(source.name)
    if target.exists():
        raise InputError(f"There is one already; move it away. Received: {target}")
    target.write_bytes(source.read_bytes())
    print(f"Search it with: hornbook tune --space {target}")


def _read_fixed(parts):
    """Values by name, from NAME=VALUE and from JSON files."""
    import json

    values = {}
    for part in parts:
        name, sign, value = part.partition("=")
        if sign:
            values[name] = value
            continue
        try:
            values |= json.loads(Path(part).read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"--fix takes NAME=VALUE or a JSON file of values: {error}. "
                f"Received: {part}"
            ) from error
    return values


def _check(given, out, resume, engine, workers, address):
    if resume is not None and (given or out is not None):
        named = [*given, *(["out"] if out is not None else [])]
        options = ", ".join(f"--{name.replace('_', '-')}" for name in named)
        raise InputError(
            f"--resume takes its settings from the folder; leave out {options}."
        )
    if given.get("search") == "hyperband" and "trials" in given:
        raise InputError(
            "hyperband sets the number of trials by --epochs; leave out --trials."
        )
    if "stages" in given and given.get("search") != "coarse-to-fine":
        raise InputError("--stages is for --search coarse-to-fine; add that.")
    if engine not in (None, "ray"):
        raise InputError(f"--engine is ray, or left out. Received: {engine}")
    if address is not None and engine is None:
        raise InputError("--address is for --engine ray; add that.")
    if workers is not None and workers < 1:
        raise InputError(f"--workers is at least 1. Received: {workers}")


def _make_executor(engine, workers, address):
    if engine == "ray":
        from hornbook.tuning import Ray

        options = {} if workers is None else {"workers": workers}
        return Ray(address=address, **options)
    if workers is not None:
        from hornbook.tuning import Pool

        return Pool(workers)
    return None
