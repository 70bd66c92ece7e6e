"""The report of a folder of `hornbook tune`, and what to do next."""

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hornbook.tuning.report.page import write_page
from hornbook.tuning.report.read import Trial, read_search
from hornbook.tuning.report.tensorboard import write_logs
from hornbook.tuning.runs.run import CONFIG, SearchJob


def write_report(job: SearchJob) -> Path:
    """Writes `report.html` and the logs for TensorBoard, from what is in the folder.

    Args:
        job: A `SearchJob` whose search has ended or was interrupted.

    Returns:
        Path of the report.
    """
    folder = job.folder
    search = read_search(folder / "search")
    write_logs(search, folder / "tensorboard")
    config = _read(folder / CONFIG)
    test = folder / "test.json"
    shown = ("space", "search", "trials", "epochs", "folds", "executions", "seed")
    about = {
        "title": f"{job.space.name} on {job.data.name}",
        "command": config["command"],
        "versions": {"hornbook": config["hornbook"], **config["versions"]},
        "resume": None if has_ended(job) else resume_command(folder),
        "use": list(_next_steps(job, config)) if search.ranked() else [],
        "counts": job.data.counts,
        "notices": job.data.notices,
        "test": _read(test) if test.is_file() else None,
        "settings": {name: config[name] for name in shown}
        | {f"{part} examples": count for part, count in job.data.counts.items()}
        | {"fixed": config["fixed"] or None, "score": config["score"]},
    }
    return write_page(folder / "search", folder / "report.html", about)


def mark_ended(job: SearchJob) -> None:
    """Records that the search has ended, and was not interrupted."""
    (job.folder / "ended").touch()


def has_ended(job: SearchJob) -> bool:
    """Whether the search has ended."""
    return (job.folder / "ended").is_file()


def resume_command(folder: str | os.PathLike[str]) -> str:
    """Returns the command that continues the search of a folder.

    Args:
        folder: Path of the folder.

    Example:

    >>> resume_command("my searches/1")
    "hornbook tune --resume 'my searches/1'"
    """
    return f"hornbook tune --resume {_quoted(folder)}"


def summarize(job: SearchJob, best: Trial | None) -> Iterator[str]:
    """Yields the result of a search as lines of text.

    Args:
        job: A `SearchJob` whose search has ended or was interrupted.
        best: The best trial, or `None`.
    """
    if best is None:
        yield "No trial has succeeded."
        return
    values = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in best.values.items()
    )
    name = job.tuner.oracle.objective.name
    yield f"Best is trial {best.id}: {name} {best.score:.4f} with {values}."
    path = job.folder / "test.json"
    if path.is_file():
        test = _read(path)
        metrics = ", ".join(f"{k} {v:.4f}" for k, v in test["metrics"].items())
        line = f"On {test['count']} test examples: {metrics}"
        if "interval" in test:
            low, high = test["interval"]
            line += f" (95 % interval {low:.4f} to {high:.4f})"
        yield f"{line}, trial {test['trial']}."
    yield f"Model: {job.folder / 'best.keras'}"


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _quoted(path: str | os.PathLike[str]) -> str:
    return shlex.quote(str(path))


def _next_steps(job: SearchJob, config: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """What can be done next: a sentence, and lines to run."""
    folder, settings = job.folder, job.settings
    load = f"model = keras.models.load_model({str(folder / 'best.keras')!r})"
    if job.data.are_images:
        path = str(folder / CONFIG)
        lines = [
            "import json",
            "",
            "import keras",
            "import numpy as np",
            "from PIL import Image",
            "",
            load,
            f"class_names = json.load(open({path!r}))['class_names']",
            "pixels = np.asarray(Image.open('photo.png').convert('RGB'))[None]",
            "print(class_names[model.predict(pixels)[0].argmax()])",
        ]
        why = "Classify an image of any size, with Keras alone:"
    else:
        shape = (1, *job.data.train[0].shape[1:])
        lines = [
            "import keras",
            "import numpy as np",
            "",
            load,
            f"print(model.predict(np.zeros({shape}, 'float32')))",
        ]
        why = "Use the best model, with Keras alone:"
    yield {"why": why, "code": "\n".join(lines)}

    options = ["--space", settings.space]
    if settings.data:
        options += ["--data", settings.data]
    if settings.labels_per_class:
        options += ["--labels-per-class", str(settings.labels_per_class)]
    options += ["--epochs", str(config["epochs"]), "--seed", str(settings.seed + 1)]
    options += ["--fix", str(folder / "best.json"), "--trials", "1"]
    command = ["hornbook", "tune", *options]
    if job.space.backbone is not None:
        command = ["hornbook", "finetune", "--settings", str(folder / "best.json")]
        command += ["--seed", str(settings.seed + 1)]
    yield {
        "why": "Train with the best values and another seed; --data takes other data:",
        "code": shlex.join(command),
    }
    if job.data.test is not None and not (folder / "test.json").is_file():
        yield {
            "why": "Test the best model, once, when all choices are made:",
            "code": f"{resume_command(folder)} --test",
        }
    yield {
        "why": "Show all trials in TensorBoard:",
        "code": f"tensorboard --logdir {_quoted(folder / 'tensorboard')}",
    }
