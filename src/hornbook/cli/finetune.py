"""`hornbook finetune`, `evaluate` and `predict`: train, test, use."""

import inspect
import json
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from hornbook.cli.quiet import quiet
from hornbook.errors import InputError
from hornbook.fields import OTHER_NAMES, flag_type
from hornbook.zoo.runs.config import DATA_FORMS, fields_of_a_run

SHOWN = 20  # classes whose examples are counted on the screen
Run = Annotated[Path, typer.Argument(help="A run folder, such as `runs/1`.")]
Trust = Annotated[bool, typer.Option("--trust", help="Open a model that carries code.")]


def register(app: typer.Typer) -> None:
    """Adds the three commands."""
    for command in (with_flags(finetune), evaluate, predict):
        app.command(cls=NamesInMind, rich_help_panel="Fine-tuning")(command)


class NamesInMind(typer.core.TyperCommand):
    """Tells the right word for a flag that is called otherwise elsewhere."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Looks for such flags before Typer refuses them."""
        known = {name for each in self.params for name in each.opts}
        for arg in args:
            flag = arg.partition("=")[0]
            meant = OTHER_NAMES.get(flag.removeprefix("--").replace("-", "_"), "")
            names = [f"--{name.replace('_', '-')}" for name in meant.split(" or ")]
            names = [name for name in names if name in known]
            if flag.startswith("--") and flag not in known and names:
                raise InputError(
                    f"There is no such flag; it is {' or '.join(names)}. "
                    f"Received: {flag}"
                )
        return super().parse_args(ctx, args)


def with_flags(command: Any) -> Any:
    """Gives a command a flag for each field of a run, in place of its `**given`."""
    signature = inspect.signature(command)
    own = [
        each
        for each in signature.parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    flags = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=_flag(field),
        )
        for field in fields_of_a_run()
        if field.metadata["kind"] is not None
    ]

    def call(**given: Any) -> None:
        command(**given)

    told: Any = call  # a function takes any attribute
    told.__name__, told.__doc__ = command.__name__, command.__doc__
    told.__signature__ = signature.replace(parameters=[*own, *flags])
    told.__annotations__ = {each.name: each.annotation for each in [*own, *flags]}
    return told


def _flag(field):
    """The flag of a field, with its default in the help."""
    told = field.metadata
    shown = told["shown"] or field.default
    shown = str(shown).lower() if isinstance(shown, bool) else shown
    option = typer.Option(
        help=f"{told['help']} Default: {shown}.", rich_help_panel=told["group"]
    )
    return Annotated[flag_type(told["kind"]), option]


def finetune(
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder to make. Default: runs/1, runs/2, ..."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Run folder to go on with, exactly.")
    ] = None,
    settings: Annotated[
        str | None,
        typer.Option(
            help="Settings to begin with: a JSON file, the best.json of a search, or "
            "autogluon (AdamW with warm-up and layer decay). Flags come before them."
        ),
    ] = None,
    compare: Annotated[
        bool, typer.Option(help="Also train four other ways, over five seeds.")
    ] = False,
    **given: Any,
) -> None:
    """Fine-tune a backbone: the head first, then everything at a tenth of the rate.

    Several machines share each batch when the same command is started on each, with
    KERAS_BACKEND=jax and KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES, _PROCESS_ID.
    """
    options = _read_flags(given)
    if resume is not None and (options or settings or out is not None):
        named = [*options, *["settings"] * bool(settings), *["out"] * bool(out)]
        shown = ", ".join(f"--{name.replace('_', '-')}" for name in named)
        raise InputError(
            f"--resume takes its settings from the run; leave out {shown}. "
            f"Received: --resume {resume}"
        )
    if settings is not None:
        from hornbook.zoo.runs.settings_file import read_settings

        options = {**read_settings(settings), **options}
    if "data" not in options and resume is None:
        options.setdefault("labels_per_class", 5)
    from hornbook.zoo.runs.config import RunConfig

    RunConfig.of(options)  # what is wrong is said before Keras is imported

    quiet()
    from hornbook.progress import Bars
    from hornbook.run_folder import free_folder
    from hornbook.zoo.finetune import processes
    from hornbook.zoo.runs import run

    processes.join()
    if compare and processes.count() > 1:
        raise InputError(
            "--compare trains in one process; leave it out, and add it to a --resume "
            f"of the finished run. Received: {processes.count()} processes"
        )
    bars = Bars(shown=processes.is_first())

    def say(text):
        bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    folder = resume or Path(processes.exchange(str(out or free_folder("runs")))[0])
    with processes.together():
        if resume is not None:
            config, dataset = run.reopen(folder, bars)
        else:
            command = shlex.join(["hornbook", *sys.argv[1:]])
            config = RunConfig.of(options, processes.count())
            config, dataset = run.create(config, folder, command, progress=bars)
    say(_describe(config, dataset, folder))
    say(f"  Training examples: {_counts(dataset)}.")
    for notice in dataset.notices:
        say(f"  {notice}")

    if json.loads(processes.exchange(json.dumps(run.is_complete(folder)))[0]):
        metrics: Any = run.read_metrics(folder)
    else:
        metrics = run.execute(folder, config, dataset, bars)
    if not processes.is_first():
        return
    if compare:
        from hornbook.zoo.runs.compare import compare_arms

        table = compare_arms(folder, config, bars)
        bars.console.print(_comparison(table))
    from hornbook.zoo.runs.report import write_report

    write_report(folder)
    say(_summary(metrics))
    print(f"Report: {folder / 'report.html'}")


def _read_flags(given):
    """The values of the flags that were given."""
    options = {}
    for field in fields_of_a_run():
        value, parse = given.get(field.name), field.metadata["parse"]
        if value is None:
            continue
        if parse is not None:
            parsed = parse(value)
            value = value if parsed is None else parsed
        options[field.name] = value
    return options


def _counts(dataset):
    """How many examples each class has to train on, the first and the last of many."""
    counts = Counter(dataset.train.labels.tolist())
    told = [f"{name} {counts[place]}" for place, name in enumerate(dataset.classes)]
    few = told if len(told) <= SHOWN else [*told[: SHOWN - 1], "...", told[-1]]
    return ", ".join(few)


def _describe(config, dataset, folder):
    validation, training = dataset.validation, config.training
    length = f"{training.epochs} epochs"
    if training.minutes is not None:
        length = f"{training.minutes:g} minutes"
    stop = (
        f"a fixed budget of {length} (too few labels to hold some out)"
        if validation is None
        else f"early stopping on {len(validation.labels)} held-out examples, "
        f"{length} at most"
    )
    return (
        f"{folder}: {config.data.backbone} on {dataset.name}, {len(dataset.classes)} "
        f"classes, {len(dataset.train.labels)} training and "
        f"{len(dataset.test.labels)} test examples; {stop}."
    )


def _summary(metrics):
    test, count = metrics["test"], metrics["counts"]["test"]
    voted = test["voted"]
    lines = [metrics["kept"]] if metrics["kept"] else []
    lines.append(
        f"Test accuracy {test['single']['accuracy']:.1%}, one view, of {count}."
    )
    if voted:
        lines.append(
            f"Test accuracy {voted['accuracy']:.1%}, {voted['crops']} crops: "
            f"{voted['wrong_to_right']} corrected and {voted['right_to_wrong']} broken "
            f"by voting."
        )
    lines.append(f"Trained and tested in {metrics['seconds']['total']:.0f} s.")
    return "\n".join(lines)


def _comparison(compare):
    from rich.table import Table

    seeds = len(compare["seeds"])
    table = Table(title=f"Test accuracy in %, {seeds} seeds, mean ± sd")
    for name in ("arm", "learning rate", "accuracy", "seconds"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    for arm in compare["arms"]:
        spread = "" if arm["sd"] is None else f" ± {100 * arm['sd']:.1f}"
        seconds = "" if arm["seconds"] is None else f"{arm['seconds']:.0f}"
        rate = arm["learning_rate"]
        rate = "" if rate is None else f"{rate:g}"
        table.add_row(arm["title"], rate, f"{100 * arm['mean']:.1f}{spread}", seconds)
    return table


def evaluate(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run folders, such as `runs/1 runs/2`.", metavar="RUN..."),
    ],
    data: Annotated[
        str | None, typer.Option(help=f"{DATA_FORMS}. Default: the runs' own test.")
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
    trust: Trust = False,
) -> None:
    """Test fine-tuned models: on a test split, or on all of data without one.

    With --ensemble, also as one model, and what that corrects and breaks of each.
    """
    if not ensemble and (merge or weights):
        raise InputError("--merge and --weights are for --ensemble; add that.")
    numbers = None if weights is None else _numbers(weights)

    quiet()
    from hornbook.zoo.runs.evaluate import evaluate_run, evaluate_runs

    if len(runs) == 1 and not ensemble:
        result = evaluate_run(runs[0], data, skip_unreadable, safe_mode=not trust)
    else:
        result = evaluate_runs(
            runs,
            data,
            skip_unreadable,
            ensemble,
            merge or "mean",
            weights=numbers,
            safe_mode=not trust,
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
            f"  against {run['run']}: {gain['wrong_to_right']} corrected and "
            f"{gain['right_to_wrong']} broken, {100 * gain['difference']:+.1f} points "
            f"(95 % interval {low:+.1f} to {high:+.1f}; McNemar p = "
            f"{gain['mcnemar_p']:.2g})"
        )


def predict(
    run: Run,
    images: Annotated[list[Path], typer.Argument(help="Pictures of any size.")],
    top: Annotated[int, typer.Option(min=1, help="Classes to name.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    trust: Trust = False,
) -> None:
    """Name what is in pictures, with a fine-tuned model."""
    quiet()
    from hornbook.zoo.runs.predict import predict_files

    results = predict_files(run, images, top, safe_mode=not trust)
    if as_json:
        print(json.dumps(results, ensure_ascii=False))
        return
    for result in results:
        named = "  ".join(
            f"{each['class']} {each['probability']:.1%}" for each in result["top"]
        )
        print(f"{result['image']}: {named}")
