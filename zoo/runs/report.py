"""The report of a fine-tuning run: one HTML file that needs nothing beside it.

It is written from what the run folder holds, so it can be written again at any time.
Sentences that judge (is the lead real, did the voting help) are computed here.
"""

import base64
import json
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from hornbook.errors import InputError
from hornbook.files import atomic_write
from hornbook.pages.page import environment, percent, plural
from hornbook.stats import wilson_interval
from hornbook.zoo.runs.records import (
    HISTORY,
    read_config,
    read_history,
    read_metrics,
)

NEEDED = (
    "config.json",
    "metrics.json",
    "history.csv",
    "curves.png",
    "confusion.png",
    "mistakes.png",
)
TRAINED = {"head": "the head alone", "all": "all layers"}
PARTS = {
    "data": "Reading the data",
    "features": "Features of the frozen backbone",
    "head": "Training the head",
    "all": "Training all layers",
    "test": "Testing",
}
MOST_CONFUSIONS = 8


def write_report(folder: str | Path) -> Path:
    """Writes `report.html` into a run folder, from what else is there.

    Args:
        folder: The run folder, with `config.json`, `metrics.json`, `history.csv`,
            `curves.png`, `confusion.png` and `mistakes.png`; with `compare.json` there
            is also `comparison.png`.

    Returns:
        Path of the report.

    Raises:
        InputError: if one of these files is missing, or a JSON file is damaged.

    Example:

    >>> write_report("no/such/run")
    Traceback (most recent call last):
    hornbook.errors.InputError: There is no such run folder. Received: no/such/run
    """
    from hornbook.zoo.doctor.from_path import diagnose_run  # it imports Keras

    folder = Path(folder)
    _check(folder)
    config, metrics = read_config(folder), read_metrics(folder)
    compare = None
    if (folder / "compare.json").is_file():
        try:
            compare = json.loads((folder / "compare.json").read_text("utf-8"))
        except ValueError as error:
            raise InputError(
                f"The comparison can't be read ({error}): {folder / 'compare.json'}"
            ) from error
    history = read_history(folder / HISTORY)

    pages = environment(Path(__file__).parent)
    pages.filters["repr"] = repr
    template = pages.get_template("report.html.j2")
    html = template.render(
        config=config,
        metrics=metrics,
        compare=compare,
        history=history,
        scores=_scores(metrics),
        largest_class=_largest_class(metrics["confusion"]),
        summary=_summary(config, metrics),
        voting=_voting(metrics["test"]["voted"]),
        diagnosis=diagnose_run(folder),
        confusions=_confusions(metrics["confusion"], config["class_names"]),
        verdict=compare and verdict(compare["arms"]),
        parts=_parts(metrics["seconds"]),
        folder=str(folder),
        picture=lambda name: _data_uri(folder / name),
    )
    report = folder / "report.html"
    with atomic_write(report) as new:
        new.write_text(html, encoding="utf-8", errors="replace")
    return report


def _check(folder):
    if not folder.is_dir():
        raise InputError(f"There is no such run folder. Received: {folder}")
    needed = list(NEEDED)
    if (folder / "compare.json").is_file():
        needed.append("comparison.png")
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise InputError(f"The run folder {folder} lacks {', '.join(missing)}.")


def _data_uri(path):
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def verdict(arms: list[dict]) -> str:
    """Which arm of a comparison is best, and whether its lead exceeds its spread.

    The best arm is held against the next best seed by seed, since what a seed does to
    one it mostly does to the other. An arm of one score, such as an ensemble, has no
    spread and is told apart.

    Args:
        arms: List of dicts with `title`, `accuracies`, `mean` and `sd`, as in
            `compare.json`.

    Returns:
        A few sentences.

    Example:

    >>> probe = {"title": "probe", "accuracies": [0.7, 0.8], "mean": 0.75, "sd": 0.07}
    >>> full = {"title": "full", "accuracies": [0.8, 0.92], "mean": 0.86, "sd": 0.08}
    >>> print(verdict([probe, full]))  # doctest: +NORMALIZE_WHITESPACE
    Best is “full” with 86.0 ± 8.0 %. Seed by seed it is 11.0 ± 1.4 points above
    “probe”, ahead on 2 of 2 seeds: the lead is larger than its spread.
    """
    ranked = sorted(arms, key=lambda arm: arm["mean"], reverse=True)
    spread = [arm for arm in ranked if len(arm["accuracies"]) > 1]
    single = [arm for arm in ranked if len(arm["accuracies"]) == 1]
    sentences = []
    if spread:
        best = spread[0]
        among = "Best of those with several seeds" if single else "Best"
        score = f"{100 * best['mean']:.1f} ± {percent(best['sd'])}"
        sentences.append(f"{among} is “{best['title']}” with {score}.")
    if len(spread) > 1:
        sentences.append(_lead(*spread[:2]))
    for arm in single:
        score = percent(arm["mean"])
        sentences.append(f"“{arm['title']}” has {score}, one score without a spread.")
    return " ".join(sentences)


def _lead(best, other):
    pairs = zip(best["accuracies"], other["accuracies"], strict=True)
    leads = [100 * (ours - theirs) for ours, theirs in pairs]
    ahead = sum(lead > 0 for lead in leads)
    mean, sd = fmean(leads), stdev(leads)
    judged = (
        "larger than its spread"
        if mean > sd
        else "within its spread, so these seeds do not tell the two apart"
    )
    return (
        f"Seed by seed it is {mean:.1f} ± {sd:.1f} points above “{other['title']}”, "
        f"ahead on {ahead} of {len(leads)} seeds: the lead is {judged}."
    )


def _summary(config, metrics):
    """What was trained on what, and where it stopped, in one sentence."""
    counts, labels = metrics["counts"], config["labels_per_class"]
    phases = [
        f"{TRAINED.get(phase, phase)} for {plural(epochs, 'epoch')}"
        for phase, epochs in metrics["epochs_run"].items()
    ]
    if "all" in metrics["epochs_run"]:
        phases[-1] += (
            f" at {config['backbone_lr_multiplier']:g} of the head's learning rate"
        )
    return (
        f"{config['backbone']} was fine-tuned on {config['data']} with "
        f"{plural(labels, 'label') + ' a class' if labels else 'all labels'} "
        f"({counts['train']:,} pictures, {len(config['class_names']):,} classes): "
        f"{', then '.join(phases)}; {_end(config, metrics)}."
    )


def _end(config, metrics):
    if metrics["stopping"] == "fixed budget":
        return "it ran for its fixed budget, with no labels to spare for validation"
    validation = plural(metrics["counts"]["validation"], "validation picture")
    if sum(metrics["epochs_run"].values()) < config["epochs"]:
        return f"it stopped early, when {validation} showed no more gain"
    return f"early stopping, on {validation}, let it run for its whole budget"


def _scores(metrics):
    """The rows of the score table. The last is the one that heads the report."""
    total = metrics["counts"]["test"]
    single, voted = metrics["test"]["single"], metrics["test"]["voted"]
    rows = [{"title": "Single view", **single}]
    if voted:
        title = f"{voted['crops']} crops, merged by {voted['merge']}"
        rows.append({"title": title, **voted})
    for row in rows:
        row["interval"] = wilson_interval(row["correct"], total)
    return rows


def _largest_class(confusion):
    """The accuracy of naming the most frequent class each time."""
    totals = np.sum(confusion, axis=1)
    return totals.max() / totals.sum()


def _voting(voted):
    """What the voting changed, and whether chance would change as much."""
    if not voted:
        return None
    changed = (
        f"Voting turned {voted['wrong_to_right']:,} wrong answers right and "
        f"{voted['right_to_wrong']:,} right answers wrong"
    )
    p = voted.get("mcnemar_p")
    if p is None:
        return f"{changed}."
    judged = "more than chance would" if p < 0.05 else "which chance may do as well"
    p = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    return f"{changed}, {judged} (McNemar's test, {p})."


def _confusions(confusion, classes):
    """The most frequent errors, and what share of the true class each one is."""
    counts = np.array(confusion)
    totals = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MOST_CONFUSIONS]
    places = np.transpose(np.unravel_index(order, counts.shape))
    return [
        {
            "truth": classes[i],
            "predicted": classes[j],
            "count": counts[i, j],
            "share": counts[i, j] / totals[i],
        }
        for i, j in places
        if counts[i, j]
    ]


def _parts(seconds):
    """How long each part took, and as a share of the longest."""
    parts = {part: took for part, took in seconds.items() if part != "total"}
    longest = max(parts.values())
    return [
        {"title": PARTS.get(part, part), "seconds": took, "share": took / longest}
        for part, took in parts.items()
    ]
