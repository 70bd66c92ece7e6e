"""`hornbook finetune`, `evaluate` and `predict`: train, test, use."""

import json
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from hornbook.cli.quiet import quiet
from hornbook.errors import InputError

DATA = "folder:PATH (one folder a class), csv:FILE, tfds:NAME or npz:FILE"
SHOWN = 20  # classes whose examples are counted on the screen
Run = Annotated[Path, typer.Argument(help="A run folder, such as `runs/1`.")]


def register(app):
    """Adds the three commands."""
    for command in (finetune, evaluate, predict):
        app.command(rich_help_panel="Fine-tuning")(command)


def finetune(
    data: Annotated[
        str | None,
        typer.Option(help=f"{DATA}. Default: the embedded digits over photographs."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Any id of the zoo, such as keras/mobilenet_v2. Default: "
            "glyphnet.letters_rgb (colour)."
        ),
    ] = None,
    labels_per_class: Annotated[
        int | None,
        typer.Option(
            help="Labelled examples of each class. Default: all; embedded: 5."
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Over both phases, each of 30 batches or more. Default: 10."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Chooses examples and order. Default: 0.")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            help="Learning rate of the head, or auto: found on the training examples. "
            "Default: 0.03; 0.001 for backbones other than glyphnet."
        ),
    ] = None,
    backbone_rate: Annotated[
        float | None,
        typer.Option(
            help="Multiple of it for all, after the head. Default: 0.1; 0 freezes."
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="What is trained when: thaw (the head first, then all; the default), "
            "probe (the head alone), full, gradual (block after block), layer_decay."
        ),
    ] = None,
    batchnorm: Annotated[
        str | None,
        typer.Option(
            help="BatchNorm in the backbone: frozen (the default), update (that of "
            "thaw on glyphnet, where it was measured to be better) or recalibrate."
        ),
    ] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(help="0 (the default) to 1.")
    ] = None,
    mixed_precision: Annotated[
        str | None, typer.Option(help="float16 or bfloat16. Default: neither.")
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(help="Devices of each machine that share each batch. Default: 1."),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(
            help="Random changes of the training pictures beyond their place: none "
            "(the default), digits, light, strong or imagenet_train."
        ),
    ] = None,
    views: Annotated[
        str | None,
        typer.Option(
            help="Crops at test time: none, five (the default) or ten (mirrored too)."
        ),
    ] = None,
    merge: Annotated[
        str | None,
        typer.Option(
            help="How they vote: mean (the default), mean_logit, geometric, vote, rank."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder to make. Default: runs/1, runs/2, ..."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Run folder to go on with, exactly.")
    ] = None,
    compare: Annotated[
        bool, typer.Option(help="Also train every other way, over five seeds.")
    ] = False,
    skip_unreadable: Annotated[
        bool, typer.Option(help="Go on without files that can't be read.")
    ] = False,
):
    """Fine-tune a backbone: the head first, then everything at a tenth of the rate.

    Several machines share each batch when the same command is started on each, with
    KERAS_BACKEND=jax and KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES, _PROCESS_ID.
    """
    given = {
        name: value
        for name, value in {
            "data": data,
            "backbone": backbone,
            "labels_per_class": labels_per_class,
            "epochs": epochs,
            "seed": seed,
            "rate": _number(rate),
            "backbone_rate": backbone_rate,
            "strategy": strategy,
            "batchnorm": batchnorm,
            "label_smoothing": label_smoothing,
            "mixed_precision": mixed_precision,
            "devices": devices,
            "augment": augment,
            "views": views,
            "merge": merge,
            "skip_unreadable": skip_unreadable or None,
        }.items()
        if value is not None
    }
    if resume is not None and (given or out is not None):
        named = ", ".join(f"--{name.replace('_', '-')}" for name in [*given, "out"])
        raise InputError(
            f"--resume takes its settings from the run; leave out {named}."
        )
    if data is None and resume is None:
        given.setdefault("labels_per_class", 5)
    if backbone is not None and not backbone.startswith("glyphnet"):
        given.setdefault("rate", 1e-3)

    quiet()
    from hornbook.cli.progress import Bars
    from hornbook.zoo.finetune import processes
    from hornbook.zoo.runs import run
    from hornbook.zoo.runs.config import Job

    processes.join()
    if compare and processes.count() > 1:
        raise InputError(
            "--compare trains in one process; leave it out, and add it to a --resume "
            f"of the finished run. Received: {processes.count()} processes"
        )
    bars = Bars(shown=processes.is_first())

    def say(text):
        bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    folder = resume or Path(processes.exchange(str(out or run.free_folder()))[0])
    with processes.together():
        if resume is not None:
            job, dataset = run.reopen(folder, bars)
        else:
            command = shlex.join(["hornbook", *sys.argv[1:]])
            job = Job(**given, processes=processes.count())
            job, dataset = run.create(job, folder, command, progress=bars)
    say(_describe(job, dataset, folder))
    say(f"  Training examples: {_counts(dataset)}.")
    for notice in dataset.notices:
        say(f"  {notice}")

    if json.loads(processes.exchange(json.dumps(run.is_complete(folder)))[0]):
        metrics = run.read_metrics(folder)
    else:
        metrics = run.execute(folder, job, dataset, bars)
    if not processes.is_first():
        return
    if compare:
        from hornbook.zoo.runs.compare import compare_arms

        table = compare_arms(folder, job, bars)
        bars.console.print(_comparison(table))
    from hornbook.zoo.runs.report import write_report

    write_report(folder)
    say(_summary(metrics))
    print(f"Report: {folder / 'report.html'}")


def _number(text):
    """The number that a text stands for, or else the text, for the job to judge."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return text


def _counts(dataset):
    """How many examples each class has to train on, the first and the last of many."""
    counts = Counter(dataset.train.labels.tolist())
    told = [f"{name} {counts[place]}" for place, name in enumerate(dataset.classes)]
    few = told if len(told) <= SHOWN else [*told[: SHOWN - 1], "...", told[-1]]
    return ", ".join(few)


def _describe(job, dataset, folder):
    validation = dataset.validation
    stop = (
        f"a fixed budget of {job.epochs} epochs (too few labels to hold some out)"
        if validation is None
        else f"early stopping on {len(validation.labels)} held-out examples, "
        f"{job.epochs} epochs at most"
    )
    return (
        f"{folder}: {job.backbone} on {dataset.name}, {len(dataset.classes)} classes, "
        f"{len(dataset.train.labels)} training and {len(dataset.test.labels)} test "
        f"examples; {stop}."
    )


def _summary(metrics):
    test, count = metrics["test"], metrics["counts"]["test"]
    voted = test["voted"]
    lines = [f"Test accuracy {test['single']['accuracy']:.1%}, one view, of {count}."]
    if voted:
        lines.append(
            f"Test accuracy {voted['accuracy']:.1%}, {voted['views']} crops: "
            f"{voted['wrong_to_right']} mended, {voted['right_to_wrong']} spoilt."
        )
    lines.append(f"Trained and tested in {metrics['seconds']['total']:.0f} s.")
    return "\n".join(lines)


def _comparison(compare):
    from rich.table import Table

    seeds = len(compare["seeds"])
    table = Table(title=f"Test accuracy in %, {seeds} seeds, mean ± sd")
    for name in ("arm", "rate", "accuracy", "seconds"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    for arm in compare["arms"]:
        spread = "" if arm["sd"] is None else f" ± {100 * arm['sd']:.1f}"
        seconds = "" if arm["seconds"] is None else f"{arm['seconds']:.0f}"
        rate = "" if arm["rate"] is None else f"{arm['rate']:g}"
        table.add_row(arm["title"], rate, f"{100 * arm['mean']:.1f}{spread}", seconds)
    return table


def evaluate(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run folders, such as `runs/1 runs/2`.", metavar="RUN..."),
    ],
    data: Annotated[
        str | None, typer.Option(help=f"{DATA}. Default: the runs' own test.")
    ] = None,
    ensemble: Annotated[
        bool, typer.Option(help="Test the runs as one model too.")
    ] = False,
    merge: Annotated[
        str | None,
        typer.Option(
            help="How they vote: mean (the default), mean_logit, geometric, vote, rank."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="One number for each, such as 2,1,1. Default: equal."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    skip_unreadable: Annotated[
        bool, typer.Option(help="Leave out unreadable files.")
    ] = False,
):
    """Test fine-tuned models: on a test split, or on all of data without one.

    With --ensemble, also as one model, and what that mends and spoils of each.
    """
    if not ensemble and (merge or weights):
        raise InputError("--merge and --weights are for --ensemble; add that.")
    numbers = None if weights is None else _numbers(weights)

    quiet()
    from hornbook.zoo.runs.evaluate import evaluate_run, evaluate_runs

    if len(runs) == 1 and not ensemble:
        result = evaluate_run(runs[0], data, skip_unreadable)
    else:
        result = evaluate_runs(
            runs, data, skip_unreadable, ensemble, merge or "mean", weights=numbers
        )
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    elif "runs" in result:
        print("\n".join(_scores(result)))
    else:
        print(f"{result['data']}: {_score(result, result['count'])}")


def _numbers(text):
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"--weights takes numbers between commas. Received: {text}"
        ) from None


def _score(row, count):
    low, high = row["interval"]
    return (
        f"{row['correct']} of {count} right, {row['accuracy']:.1%} "
        f"(95 % interval {low:.1%} to {high:.1%})"
    )


def _scores(result):
    """A line for each run, then those of the ensemble."""
    count, ensemble = result["count"], result["ensemble"]
    yield f"{result['data']}:"
    for run in result["runs"]:
        yield f"{run['run']}: {_score(run, count)}"
    if ensemble is None:
        return
    yield f"ensemble, merged by {ensemble['merge']}: {_score(ensemble, count)}"
    for run in result["runs"]:
        gain = run["ensemble_gain"]
        low, high = (100 * bound for bound in gain["interval"])
        yield (
            f"  against {run['run']}: {gain['wrong_to_right']} mended, "
            f"{gain['right_to_wrong']} spoilt, {100 * gain['difference']:+.1f} points "
            f"(95 % interval {low:+.1f} to {high:+.1f}; McNemar p = "
            f"{gain['mcnemar_p']:.2g})"
        )


def predict(
    run: Run,
    images: Annotated[list[Path], typer.Argument(help="Pictures of any size.")],
    top: Annotated[int, typer.Option(min=1, help="Classes to name.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
):
    """Name what is in pictures, with a fine-tuned model."""
    quiet()
    from hornbook.zoo.runs.evaluate import predict_files

    results = predict_files(run, images, top)
    if as_json:
        print(json.dumps(results, ensure_ascii=False))
        return
    for result in results:
        named = "  ".join(
            f"{each['class']} {each['probability']:.1%}" for each in result["top"]
        )
        print(f"{result['image']}: {named}")
