"""`hornbook tune`: search for hyperparameters, and report the result."""

import logging
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hornbook.cli.quiet import quiet
from hornbook.errors import InputError

INTERRUPTED = 130  # What a shell gives a program that Ctrl-C ended.


def register(app: typer.Typer) -> None:
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
            help="folder:PATH (one folder per class), tfds:NAME, npz:FILE, or csv:FILE "
            "for table. Default: the data of the space, or the embedded digits."
        ),
    ] = None,
    labels_per_class: Annotated[
        int | None, typer.Option(help="Labelled examples per class. Default: all.")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            help="Number of trials. Default: 30. coarse-to-fine trains as many epochs "
            "as this number of whole trainings."
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
        typer.Option(
            help="The searches of the two stages of coarse-to-fine, random or grid. "
            "Default: random,random."
        ),
    ] = None,
    find_learning_rate: Annotated[
        str | None,
        typer.Option(
            help="For coarse-to-fine: the hyperparameter that the learning-rate finder "
            "narrows first.",
            metavar="NAME",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Epochs per training. Default: those of the space."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(help="Folds of a cross-validation of each trial. Default: none."),
    ] = None,
    executions: Annotated[
        int | None,
        typer.Option(
            help="Training runs per trial, each with its own seed. Default: 1."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed. Default: 0.")] = None,
    prune: Annotated[
        str | None,
        typer.Option(
            help="Stop trials that are worse than earlier ones, in a random search: "
            "median or halving. Default: none."
        ),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            help="Epochs that a trial is scored by: best (the default), last or mean:K."
        ),
    ] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(
            help="Fix a hyperparameter, or all that a JSON file has. Can be repeated.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that run trials. Default: only this one."),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(help="ray: run trials on a Ray cluster. Default: this machine."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Address of the Ray cluster. Default: start one here."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to create. Default: tune/1, tune/2, ...")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Folder of a search to continue.")
    ] = None,
    test: Annotated[
        bool, typer.Option(help="At the end, test the best model once.")
    ] = False,
    skip_unreadable: Annotated[
        bool, typer.Option(help="Leave out files that cannot be read.")
    ] = False,
    copy: Annotated[
        str | None,
        typer.Option(
            help="Copy a ready space into the current folder, and do nothing else.",
            metavar="SPACE",
        ),
    ] = None,
) -> None:
    """Search for hyperparameters: by default, of fine-tuning on the embedded digits.

    Writes a folder with a report and the best model. An interrupted search continues
    with --resume.
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
        "find_learning_rate": find_learning_rate,
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
    _check(given, out, resume, executor, workers, address)

    quiet()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from hornbook.cli.trials_table import watching
    from hornbook.progress import Bars
    from hornbook.run_folder import free_folder
    from hornbook.tuning.runs import best_model, run, run_report
    from hornbook.tuning.runs.settings import Settings

    bars = Bars()
    say = bars.console.print
    where = _make_executor(executor, workers, address)
    if resume is not None:
        folder = resume
        job = run.reopen(folder, where, bars)
    else:
        folder = out or free_folder("tune")
        command = shlex.join(["hornbook", *sys.argv[1:]])
        job = run.create(Settings(**given), folder, command, where, bars)
    if test and job.data.test is None:
        raise InputError("There is no test set; leave out --test. Received: --test")
    say(run.describe(job), highlight=False, soft_wrap=True)
    for notice in job.data.notices:
        say(f"  {notice}", highlight=False, soft_wrap=True)

    failure = None
    try:
        with watching(job, bars.console):
            job.tuner.search(**job.arguments)
        run_report.mark_ended(job)
    except KeyboardInterrupt:
        failure = "Interrupted."
    except RuntimeError as error:  # keras-tuner's, after three failures in a row.
        failure = f"The search has stopped early: {str(error).splitlines()[0]}"
    say("Writing the report", highlight=False)
    best = best_model.keep_best(job)
    if test and failure is None and best is not None:
        best_model.evaluate_once(job)
    report = run_report.write_report(job)
    for line in run_report.summarize(job, best):
        say(line, highlight=False, soft_wrap=True)
    print(f"Report: {report}")
    if failure is not None:
        say(
            f"{failure} Continue with: {run_report.resume_command(folder)}",
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED if failure == "Interrupted." else 1)


def _copy(name):
    from hornbook.tuning.runs.space_file import find

    source = find(name)
    target = Path(source.name)
    if target.exists():
        raise InputError(
            "A file of this name exists; move or rename it first. "
            f"Received: --copy {name}, for {target}"
        )
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
                "--fix needs NAME=VALUE or a JSON file of names and values: "
                f"{error}. Received: --fix {part}"
            ) from error
    return values


def _check(given, out, resume, executor, workers, address):
    if resume is not None and (given or out is not None):
        named = [*given, *(["out"] if out is not None else [])]
        options = ", ".join(f"--{name.replace('_', '-')}" for name in named)
        raise InputError(
            f"--resume takes the settings from the folder; leave out {options}. "
            f"Received: --resume {resume}"
        )
    if given.get("search") == "hyperband" and "trials" in given:
        raise InputError(
            "hyperband derives the number of trials from --epochs; leave out --trials. "
            f"Received: --trials {given['trials']}"
        )
    if "stages" in given and given.get("search") != "coarse-to-fine":
        stages = ",".join(given["stages"])
        raise InputError(
            "--stages needs --search coarse-to-fine; add that. "
            f"Received: --stages {stages}"
        )
    if executor not in (None, "ray"):
        raise InputError(
            f"--executor must be ray, or left out. Received: --executor {executor}"
        )
    if address is not None and executor is None:
        raise InputError(
            f"--address needs --executor ray; add that. Received: --address {address}"
        )
    if workers is not None and workers < 1:
        raise InputError(f"--workers must be at least 1. Received: --workers {workers}")


def _make_executor(executor, workers, address):
    if executor == "ray":
        from hornbook.tuning import Ray

        options = {} if workers is None else {"workers": workers}
        return Ray(address=address, **options)
    if workers is not None:
        from hornbook.tuning import Pool

        return Pool(workers)
    return None
