"""Chooses the learning rate of each arm of `hornbook finetune --compare`.

Claim:   each way to fine-tune needs a rate of its own; at another it looks worse than
         it is.
Source:  Girshick et al., "Rich feature hierarchies for accurate object detection and
         semantic segmentation", CVPR 2014: fine-tune at 1/10 of the rate; the study
         notes (docs/site/notes.toml), section "transfer learning".
Data:    the training pool alone: 5 labels a class to train on, what is left of the pool
         to choose on, 10 epochs. The test splits are not read. Three draws, which are
         not those of the reported figures: they choose, and claim no accuracy.
Rule:    the one rate that was tried with all ways, 0.01, costs a way what its mean lies
         below that of the way's best rate. Holds, if on both data sets some way loses
         more than a point; partly, if on one; not here, if on none.
Change:  rates further off: a way's own lie within a factor of ten; another optimizer.
Command: python studies/finetune_rates.py
Writes:  docs/studies/finetune_rates.json and .png; the rates stand in
         zoo/runs/compare.py.
"""

import functools
from dataclasses import replace

import numpy as np
from arm_rate import ArmRate
from harness import ROOT, Study, by_signs
from pictures import COLOURS, dots, panels, plain_log
from tables import NAMES

from hornbook.zoo.data.arrays.few_labels import draw_few
from hornbook.zoo.data.splits import load_dataset
from hornbook.zoo.runs.config import RunConfig

RATES = {
    "scratch": [3e-3, 1e-2, 3e-2],
    "linear_probe": [1e-2, 3e-2, 1e-1],
    "full": [1e-3, 3e-3, 1e-2],
    "full_slow": [3e-3, 1e-2, 3e-2],
    "head_then_all": [1e-2, 3e-2, 1e-1],
}
COMMON = 1e-2
TASKS = {
    "hornbook_photo_digits": ("glyphnet.letters_rgb", 3),
    "hornbook_digits": ("glyphnet.letters_grey", 1),
}
TITLES = {task: NAMES[f"tfds:{task}"] for task in TASKS}
LABELS_PER_CLASS = 5


@functools.cache
def development_draw(name, channels, seed):
    """Few labels to train on; the rest of the training pool in place of the test."""
    full = load_dataset(f"tfds:{name}", size=36, channels=channels)
    parts = [part for part in (full.train, full.validation) if part is not None]
    images = np.concatenate([part.images for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    names = np.concatenate([part.names for part in parts])
    few = draw_few(labels, LABELS_PER_CLASS, seed)
    rest = np.setdiff1d(np.arange(len(labels)), few)

    def take(places):
        examples = {"images": images[places], "labels": labels[places]}
        return replace(full.train, **examples, names=tuple(names[places]))

    return replace(full, train=take(few), validation=None, test=take(rest))


def arm(task, way, seed):
    """The best rate's accuracy in % on the rest of the pool; each rate's."""
    backbone, channels = TASKS[task]
    config = RunConfig.of({"backbone": backbone, "seed": seed})
    search = ArmRate(
        way,
        [(config, development_draw(task, channels, seed))],
        RATES[way],
        directory=str(ROOT / "build/studies/finetune_rates/searches"),
        project_name=f"{task}-{way}-{seed}",
    )
    search.search()
    trials = search.oracle.get_best_trials(len(RATES[way]))
    found = {
        t.hyperparameters["learning_rate"]: round(100 * t.score, 2) for t in trials
    }
    return max(found.values()), {"rates": {f"{r:g}": found[r] for r in sorted(found)}}


def name(task, way):
    """Of an arm."""
    return f"{TITLES[task]}: {way}"


def by_rate(row):
    """Each rate's accuracies of an arm, seed by seed."""
    draws = [each["rates"] for each in row["details"]]
    return {float(rate): [draw[rate] for draw in draws] for rate in draws[0]}


def decide(arms):
    """The rule of the header."""
    signs, told = [], []
    for task in TASKS:
        costs, best = {}, {}
        for way in RATES:
            means = {r: np.mean(of) for r, of in by_rate(arms[name(task, way)]).items()}
            best[way] = max(means, key=means.get)
            costs[way] = means[best[way]] - means[COMMON]
        signs.append(max(costs.values()) > 1)
        each = ", ".join(f"{way} {best[way]:g} ({costs[way]:.1f})" for way in RATES)
        told.append(f"{TITLES[task]}: {each}")
    return by_signs(signs), (
        f"Each way's best rate, and what {COMMON:g} costs it in points: "
        f"{'; '.join(told)}."
    )


def picture(result):
    """Accuracy by rate, a line a way, a panel a task."""
    figure, grid = panels(len(TASKS), width=4.8, height=3.8)
    for axes, task in zip(grid, TASKS, strict=True):
        for place, (way, colour) in enumerate(zip(RATES, COLOURS, strict=False)):
            found = by_rate(result["arms"][name(task, way)])
            shifted = [rate * 1.06 ** (place - 2) for rate in found]
            means = [np.mean(values) for values in found.values()]
            axes.plot(shifted, means, color=colour, lw=1)
            for x, values in zip(shifted, found.values(), strict=True):
                dots(axes, x, values, colour, way if x == shifted[0] else None)
        plain_log(axes.xaxis, [1e-3, 3e-3, 1e-2, 3e-2, 1e-1])
        axes.set(xlabel="Learning rate", ylabel="Accuracy on the rest of the pool (%)")
        axes.set_title(
            f"{TITLES[task]}: {len(result['seeds'])} draws, mean ± sd", size=10
        )
        axes.legend(frameon=False, fontsize=9)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(task, way): functools.partial(arm, task, way)
        for task in TASKS
        for way in RATES
    },
    baseline=name("hornbook_photo_digits", "head_then_all"),
    measure="Accuracy at a way's best rate, on the rest of the training pool (%)",
    decide=decide,
    seeds=(100, 101, 102),
    setting=f"{LABELS_PER_CLASS} labels a class, 10 epochs",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
