"""What a search leaves: the best model, its values, its one test."""

import json
import shlex
import warnings

import keras
import numpy as np
from keras import layers

from hornbook.tuning.runs.best_model import plain
from hornbook.tuning.report.page import write_page
from hornbook.tuning.report.read import read_search
from hornbook.tuning.report.tensorboard import write_logs
from hornbook.files import atomic_write, write_json


def keep_best(job):
    """Writes `best.keras` and `best.json`, where a trial has succeeded.

    Args:
        job: A `Job` whose search has ended, or was interrupted.

    Returns:
        The best trial, or None.
    """
    ranked = read_search(job.folder / "search").ranked()
    if not ranked:
        return None
    best = ranked[0]
    model = _train_on_all(job, best) if job.settings.folds else _saved_model(job)
    raw = job.data.train[0].shape[1:]
    home = plain(job.space.inference_model(model, raw))
    if job.data.are_pictures:
        home = _for_any_size(home, raw)
    with atomic_write(job.folder / "best.keras") as new:
        home.save(new)
    write_json(job.folder / "best.json", best.values)
    return best


def _saved_model(job):
    with warnings.catch_warnings():
        # The weights file has the optimizer's variables too, which are not wanted.
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        return job.tuner.get_best_models(1)[0]


def _train_on_all(job, best):
    """Each fold's model has seen a part: this one sees all, for as many epochs."""
    values = job.tuner.get_best_hyperparameters(1)[0]
    keras.utils.set_random_seed(best.runs[0]["seed"])
    model = job.tuner.hypermodel.build(values)
    given = {name: job.arguments[name] for name in ("x", "y", "verbose")}
    size = best.values.get("batch_size", job.arguments.get("batch_size"))
    epochs = round(np.mean([run["epoch"] + 1 for run in best.runs]))
    model.fit(**given, batch_size=size, epochs=epochs)
    return model


def _for_any_size(model, shape):
    """Pictures in, as they are; the model's own size is cut from their middle."""
    pictures = keras.Input((None, None, shape[-1]), dtype="uint8", name="picture")
    shrink = layers.Resizing(
        *shape[:2], crop_to_aspect_ratio=True, antialias=True, name="shrink"
    )
    return keras.Model(pictures, model(shrink(pictures)), name="inference_model")


def test_once(job):
    """Tests `best.keras` on the test set, if that was not done before.

    Args:
        job: A `Job` whose search has ended.

    Returns:
        Dict with "trial", "count" and "metrics"; for classes also "correct" and
        Wilson's 95 % "interval" of the accuracy.
    """
    from scipy.stats import binomtest

    path = job.folder / "test.json"
    if path.is_file():
        return _read(path)
    x, y = job.data.test
    best = read_search(job.folder / "search").ranked()[0]
    found = {"trial": best.id, "count": len(x)}
    model = keras.models.load_model(job.folder / "best.keras")
    outputs = model.predict(x, batch_size=256, verbose=0)
    if job.data.classes:
        correct = int((outputs.argmax(axis=1) == y).sum())
        interval = binomtest(correct, len(y)).proportion_ci(method="wilson")
        found |= {
            "metrics": {"accuracy": correct / len(y)},
            "correct": correct,
            "interval": [float(interval.low), float(interval.high)],
        }
    else:
        error = outputs.reshape(len(y), -1) - np.asarray(y).reshape(len(y), -1)
        found["metrics"] = {"mse": float((error**2).mean())}
    write_json(path, found)
    return found


def write_report(job):
    """Writes `report.html` and the logs for TensorBoard, from what there is.

    Returns:
        Path of the report.
    """
    folder = job.folder
    search = read_search(folder / "search")
    write_logs(search, folder / "tensorboard")
    config = _read(folder / "config.json")
    test = folder / "test.json"
    shown = ("space", "search", "trials", "epochs", "folds", "executions", "seed")
    about = {
        "title": f"{job.space.name} on {job.data.name}",
        "command": config["command"],
        "versions": {"hornbook": config["hornbook"], **config["versions"]},
        "resume": None if has_ended(job) else resume_command(folder),
        "use": list(_uses(job, config)) if search.ranked() else [],
        "counts": job.data.counts,
        "notices": job.data.notices,
        "test": _read(test) if test.is_file() else None,
        "settings": {name: config[name] for name in shown}
        | {f"{part} examples": count for part, count in job.data.counts.items()}
        | {"fixed": config["fixed"] or None, "score": config["score"]},
    }
    return write_page(folder / "search", folder / "report.html", about)


def mark_ended(job):
    """Notes that there is nothing left to try."""
    (job.folder / "ended").touch()


def has_ended(job):
    """Whether there is nothing left to try."""
    return (job.folder / "ended").is_file()


def resume_command(folder):
    """What goes on with a search."""
    return f"hornbook tune --resume {_quoted(folder)}"


def _read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def _quoted(path):
    return shlex.quote(str(path))


def _uses(job, config):
    """What can be done next: a sentence, and lines to run."""
    folder, settings = job.folder, job.settings
    lines = [
        "import json",
        "",
        "import keras",
        "import numpy as np",
        "",
        f"model = keras.models.load_model({str(folder / 'best.keras')!r})",
    ]
    if job.data.are_pictures:
        lines.insert(4, "from PIL import Image")
        lines += [
            f"classes = json.load(open({str(folder / 'config.json')!r}))['classes']",
            "pixels = np.asarray(Image.open('photo.png').convert('RGB'))[None]",
            "print(classes[model.predict(pixels)[0].argmax()])",
        ]
        why = "Name a picture of any size, with Keras alone:"
    else:
        shape = (1, *job.data.train[0].shape[1:])
        lines = [line for line in lines if line != "import json"][1:]
        lines.append(f"print(model.predict(np.zeros({shape}, 'float32')))")
        why = "Use the best model, with Keras alone:"
    yield {"why": why, "code": "\n".join(lines)}

    options = ["--space", settings.space]
    if settings.data:
        options += ["--data", settings.data]
    if settings.labels_per_class:
        options += ["--labels-per-class", str(settings.labels_per_class)]
    options += ["--epochs", str(config["epochs"]), "--seed", str(settings.seed + 1)]
    options += ["--fix", str(folder / "best.json"), "--trials", "1"]
    yield {
        "why": "Train with the best values from another seed, or by --data on other "
        "examples:",
        "code": shlex.join(["hornbook", "tune", *options]),
    }
    if job.data.test is not None and not (folder / "test.json").is_file():
        yield {
            "why": "Test the best model, once, when nothing is left to choose:",
            "code": f"{resume_command(folder)} --test",
        }
    yield {
        "why": "Look at all trials in TensorBoard:",
        "code": f"tensorboard --logdir {_quoted(folder / 'tensorboard')}",
    }


def summarise(job, best):
    """What was found, in a few lines."""
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
        told = ", ".join(f"{k} {v:.4f}" for k, v in test["metrics"].items())
        line = f"On {test['count']} test examples: {told}"
        if "interval" in test:
            low, high = test["interval"]
            line += f" (95 % interval {low:.4f} to {high:.4f})"
        yield f"{line}, trial {test['trial']}."
    yield f"Model: {job.folder / 'best.keras'}"
