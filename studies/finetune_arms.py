"""Measures what pretraining and a reduced rate bring, and where they do not.

Claim:   with few labels, a pretrained backbone beats training from scratch, and the
         head first, then all at a tenth of the rate, is the best way to use it.
Source:  Girshick et al., "Rich feature hierarchies for accurate object detection and
         semantic segmentation", CVPR 2014: fine-tune at 1/10 of the rate; the study
         notes (docs/site/notes.toml), section "transfer learning".
Data:    the embedded digits; tests on the 1,000 test digits, each arm at its own rate
         (chosen by studies/finetune_rates.py on training digits).
Rule:    two signs a task: every way that begins with pretrained weights beats training
         from scratch, p < 0.05; and no other way of one net and one crop has a higher
         mean than the head first. Holds, if all; partly, if some; not here, if none.
Change:  more labels; a task that is further from letters.
Command: python studies/finetune_arms.py
Writes:  docs/studies/finetune_arms.json and .png; `python studies/tables.py` puts it
         into the README.
"""

import numpy as np
from harness import ROOT, by_signs, provenance, publish, summarise
from pictures import COLOURS, dots, panels
from tables import NAMES

from hornbook.zoo.runs.compare import compare_arms
from hornbook.zoo.runs.config import RunConfig

PHOTO = {"data": "tfds:hornbook_photo_digits", "backbone": "glyphnet.letters_rgb"}
GREY = {"data": "tfds:hornbook_digits", "backbone": "glyphnet.letters_grey"}
RUNS = [
    RunConfig.of({**data, "labels_per_class": labels})
    for data, labels in ((PHOTO, 5), (GREY, 5), (GREY, 1), (PHOTO, 20))
]

WAYS = ("linear_probe", "full", "full_slow", "head_then_all")


def picture(result):
    """Each way's accuracies, a panel a task."""
    figure, grid = panels(2, 2, width=4.8, height=3.2)
    for axes, task in zip(grid, result["tasks"], strict=True):
        arms = [arm for arm in task["arms"] if len(arm["accuracies"]) > 1]
        for place, arm in enumerate(arms):
            values = [100 * each for each in arm["accuracies"]]
            dots(axes, place, values, COLOURS[place])
        axes.set_xticks(range(len(arms)), [arm["name"] for arm in arms])
        labels = task["labels_per_class"]
        many = "labels" if labels > 1 else "label"
        title = f"{NAMES[task['dataset']]}, {labels} {many} a class"
        axes.set_title(title, fontsize=10)
        axes.set_ylabel("Test accuracy (%), 5 seeds")
    return figure


def decide(tasks):
    """The rule of the header."""
    signs, told = [], []
    for task in tasks:
        arms = {arm["name"]: 100 * np.array(arm["accuracies"]) for arm in task["arms"]}
        scratch = arms.pop("scratch")
        alone = {name: arms[name] for name in WAYS}
        for values in alone.values():
            row = summarise(values, scratch)
            signs.append(row["difference"] > 0 and row["p"] < 0.05)
        best = max(alone, key=lambda name: alone[name].mean())
        signs.append(best == "head_then_all")
        told.append(
            f"{NAMES[task['dataset']]}, {task['labels_per_class']} a class: best is "
            f"{best}, {alone[best].mean():.1f} %; head_then_all "
            f"{alone['head_then_all'].mean():.1f}; "
            f"from scratch {scratch.mean():.1f}"
        )
    return by_signs(signs), "; ".join(told) + "."


def main():
    """Runs every arm on every task with five seeds; goes on where it was stopped."""
    tasks = []
    for config in RUNS:
        data = config.data
        name = f"{data.data.partition(':')[2]}-{data.labels_per_class}"
        folder = ROOT / "build/studies/finetune_arms" / name
        folder.mkdir(parents=True, exist_ok=True)
        task = compare_arms(folder, config)
        tasks.append(task)
        for arm in task["arms"]:
            accuracies = [round(accuracy, 3) for accuracy in arm["accuracies"]]
            print(name, arm["title"], accuracies, flush=True)
    verdict, because = decide(tasks)
    print(f"{verdict}: {because}")
    result = {
        "study": "finetune_arms",
        "command": "python studies/finetune_arms.py",
        "seeds": tasks[0]["seeds"],
        "tasks": tasks,
        "verdict": verdict,
        "because": because,
        **provenance(),
    }
    publish(result, picture(result), "finetune_arms")


if __name__ == "__main__":
    main()
