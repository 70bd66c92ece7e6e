"""The report of a search: one HTML file that needs nothing beside it.

It is written from the project folder of the search, so it can be written at any time,
also for a search that was interrupted. Its conclusions are computed here.
"""

import base64
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from hornbook.files import atomic_write
from hornbook.pages.figures import save_figure
from hornbook.pages.page import duration, environment, plural
from hornbook.tuning.report import figures as plots
from hornbook.tuning.report.diagnosis import diagnose_search
from hornbook.tuning.report.importance import Importance, rank_importance
from hornbook.tuning.report.intervals import interval
from hornbook.tuning.report.read import Search, read_search

MOST_TRIALS = 10
HOW = {
    "compiled": "compiled: the first with its shapes, or compiled again",
    "warm": "warm: with what an earlier training had compiled",
    "plain": "plain: by the fit of Keras",
}


def write_page(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the report of a search.

    Args:
        folder: Path of the project folder of the search.
        path: Path of the page.
        about: Dict of what the project folder does not have: "title"; "command";
            "resume", the command that continues the search, if it has not ended; "use",
            a list of dicts with "why", a sentence, and "code"; "counts", the number of
            examples of each part; "notices"; "test"; "settings".

    Returns:
        Path of the page.
    """
    search = read_search(folder)
    about = {
        "title": Path(folder).name,
        "command": None,
        "resume": None,
        "use": [],
        "counts": {},
        "notices": [],
        "test": None,
        "settings": {},
        **(about or {}),
    }
    validated = about["counts"].get("validation")
    importance = rank_importance(search.ranked(), search.space)
    pages = environment(Path(__file__).parent)
    pages.filters["number"] = _number
    template = pages.get_template("page.html.j2")
    text = template.render(
        about=about,
        search=search,
        best=_best(search, validated),
        verdict=_verdict(search, validated),
        rule=_rule(search.settings),
        importance=importance,
        pictures=_draw(search, importance),
        health=diagnose_search(search),
        narrowing=_narrowing(search),
        costs=_costs(search),
        spent=_spent(search),
        why_plain=_why_plain(search),
        failures=[t for t in search.trials if t.status in ("FAILED", "INVALID")],
        pruned=sum(any(r["pruned"] is not None for r in t.runs) for t in search.trials),
        stopped=sum(any(r["stopped_early"] for r in t.runs) for t in search.trials),
        unfinished=[t for t in search.trials if t.status == "RUNNING"],
    )
    with atomic_write(path) as new:
        new.write_text(text, encoding="utf-8", errors="replace")
    return Path(path)


def _best(search: Search, validated: int | None) -> list[dict[str, Any]]:
    rows = []
    for trial in search.ranked()[:MOST_TRIALS]:
        found = interval(trial, search.objective, validated)
        rows.append({"trial": trial, "interval": found})
    return rows


def _verdict(search: Search, validated: int | None) -> str:
    """The best trial, and how many others are about as good."""
    ranked = search.ranked()
    if not ranked:
        return "No trial has succeeded yet."
    best, found = ranked[0], interval(ranked[0], search.objective, validated)
    text = f"Best is trial {best.id} with {search.objective} {best.score:.4g}"
    if found is None:
        return f"{text}."
    low, high = found
    text += f", 95 % interval {low:.4g} to {high:.4g}."
    near = [t for t in ranked[1:] if low <= t.score <= high]
    if near:
        count = "One other trial is" if len(near) == 1 else f"{len(near)} others are"
        text += f" {count} within that interval: these data cannot distinguish them."
    return (
        f"{text} It is the best of {len(ranked)} trials, so its score is likely too "
        "optimistic."
    )


def _rule(settings: Mapping[str, Any]) -> str:
    """How a trial is scored, in a sentence."""
    rule, folds, executions = (
        settings[name] for name in ("score", "folds", "executions")
    )
    if rule == "best":
        source = "the best epoch of its training, which is optimistic"
    elif rule == "last":
        source = "the last epoch of its training"
    else:
        source = f"the mean over the last {rule[1]} epochs of its training"
    count = (folds or 1) * (executions or 1)
    if count == 1:
        return f"The score of a trial is that of {source}."
    kind = f"{folds} folds" if folds else ""
    if (executions or 1) > 1:
        kind += f"{' times ' if kind else ''}{executions} seeds"
    return (
        f"The score of a trial is the mean over {count} trainings ({kind}), for each "
        f"of {source}."
    )


def _draw(search: Search, importance: Importance | None) -> dict[str, str]:
    """The figures for which there are data, as data URIs by name."""
    figures = {}
    if search.done:
        figures["progress"] = plots.draw_best_so_far(search)
    if search.done and search.space:
        figures["hyperparameters"] = plots.draw_hyperparameters(search)
    if len(search.ranked()) > 1 and search.space:
        figures["parallel"] = plots.draw_parallel(search)
    if importance is not None and importance.r2 > 0:
        figures["importance"] = plots.draw_importance(importance)
    if any(trial.runs for trial in search.ranked()):
        figures["learning"] = plots.draw_learning(search)
    uris = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, figure in figures.items():
            path = Path(folder, f"{name}.png")
            save_figure(figure, path)
            code = base64.b64encode(path.read_bytes()).decode()
            uris[name] = f"data:image/png;base64,{code}"
    return uris


def _narrowing(search: Search) -> list[dict[str, Any]]:
    tables = []
    for each in search.narrowing:
        rows = [
            {
                "name": change["name"],
                "old": _region(change, "old"),
                "new": _region(change, "new"),
                "is_narrowed": change["old"] != change["new"],
                "reason": change["reason"],
            }
            for change in each["changes"]
        ]
        tables.append({"stage": each["stage"], "trials": each["trials"], "rows": rows})
    return tables


def _region(change: Mapping[str, Any], name: str) -> str:
    between = " to " if change["is_range"] else ", "
    return between.join(map(_number, change[name]))


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _costs(search: Search) -> list[dict[str, Any]]:
    """The costs of the trainings, by how they ran."""
    runs = [run for trial in search.trials for run in trial.runs]
    counts = Counter(run["how"] for run in runs)
    return [
        {
            "how": HOW[how],
            "count": counts[how],
            "median": median(run["seconds"] for run in runs if run["how"] == how),
            "total": sum(run["seconds"] for run in runs if run["how"] == how),
        }
        for how in HOW
        if counts[how]
    ]


def _why_plain(search: Search) -> list[str]:
    runs = [run for trial in search.trials for run in trial.runs]
    return sorted({run["why_plain"] for run in runs} - {None})


def _spent(search: Search) -> str | None:
    took = [trial.seconds for trial in search.trials if trial.seconds]
    if not took:
        return None
    epochs = sum(run["epochs"] for trial in search.trials for run in trial.runs)
    rate = 3600 * len(took) / sum(took)
    return (
        f"{plural(len(took), 'trial')} and {plural(epochs, 'epoch')} took "
        f"{duration(sum(took))} of training: {rate:,.0f} trials per hour and process."
    )
