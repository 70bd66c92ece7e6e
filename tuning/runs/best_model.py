"""The best model of a search: kept as a file, and tested once."""

import json
import warnings
from typing import Any

import keras
import numpy as np
from keras import layers

from hornbook.files import atomic_write, write_json
from hornbook.stats import wilson_interval
from hornbook.tuning.report.read import Trial, read_search
from hornbook.tuning.runs.plain_layers import with_plain_layers
from hornbook.tuning.runs.run import SearchJob
from hornbook.zoo.finetune.fine_tune import fine_tune
from hornbook.zoo.keras_file import load_keras_file


def keep_best(job: SearchJob) -> Trial | None:
    """Writes `best.keras` and `best.json`, if a trial has succeeded.

    Args:
        job: A `SearchJob` whose search has ended or was interrupted.

    Returns:
        The best trial, or `None`.
    """
    ranked = read_search(job.folder / "search").ranked()
    if not ranked:
        return None
    best = ranked[0]
    if job.space.backbone is not None:
        kept, values = _fine_tune(job)
    else:
        model = _train_on_all(job, best) if job.settings.folds else _saved_model(job)
        shape = job.data.train[0].shape[1:]
        kept = with_plain_layers(job.space.inference_model(model, shape))
        if job.data.are_images:
            kept = _for_any_size(kept, shape)
        values = best.values
    with atomic_write(job.folder / "best.keras") as new:
        kept.save(new)
    write_json(job.folder / "best.json", values)
    return best


def _fine_tune(job: SearchJob) -> tuple[keras.Model, dict[str, Any]]:
    """The best fine-tuning again, from begin to end, and its settings.

    A search scores the best epoch of a trial; what is kept is what `hornbook finetune`
    gives with the same settings.
    """
    model = job.tuner.hypermodel.build(job.tuner.get_best_hyperparameters(1)[0])
    settings = {
        "data": job.data.name,
        "labels_per_class": job.settings.labels_per_class,
        "skip_unreadable": job.settings.skip_unreadable,
        "epochs": job.arguments["epochs"],
        "batch_size": job.arguments.get("batch_size", job.settings.batch_size),
        **model.fine_tuning,
    }
    given = ("data", "labels_per_class", "skip_unreadable", "backbone")
    x, y = job.data.train
    tuned = fine_tune(
        model.fine_tuning["backbone"],
        (x, y),
        job.data.validation,
        class_names=job.data.class_names,
        verbose=0,
        **{name: value for name, value in settings.items() if name not in given},
    )
    return tuned.model, {k: v for k, v in settings.items() if v is not None}


def _saved_model(job: SearchJob) -> keras.Model:
    with warnings.catch_warnings():
        # The weights file also has the optimizer's variables, which are not needed.
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        return job.tuner.get_best_models(1)[0]


def _train_on_all(job: SearchJob, best: Trial) -> keras.Model:
    """Trains on all folds, for as many epochs as the models of the folds needed."""
    values = job.tuner.get_best_hyperparameters(1)[0]
    keras.utils.set_random_seed(best.runs[0]["seed"])
    model = job.tuner.hypermodel.build(values)
    given = {name: job.arguments[name] for name in ("x", "y", "verbose")}
    size = best.values.get("batch_size", job.arguments.get("batch_size"))
    epochs = round(np.mean([run["epoch"] + 1 for run in best.runs]))
    model.fit(**given, batch_size=size, epochs=epochs)
    return model


def _for_any_size(model: keras.Model, shape: tuple[int, ...]) -> keras.Model:
    """Takes images of any size: resizes them, and crops the middle."""
    images = keras.Input((None, None, shape[-1]), dtype="uint8", name="picture")
    resize = layers.Resizing(
        *shape[:2], crop_to_aspect_ratio=True, antialias=True, name="shrink"
    )
    return keras.Model(images, model(resize(images)), name="inference_model")


def evaluate_once(job: SearchJob) -> dict[str, Any]:
    """Evaluates `best.keras` on the test set, unless that was done before.

    Args:
        job: A `SearchJob` whose search has ended.

    Returns:
        Dict with "trial", "count" and "metrics". For classes it also has "correct" and
        "interval", Wilson's 95 % interval of the accuracy.
    """
    path = job.folder / "test.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    assert job.data.test is not None
    x, y = job.data.test
    best = read_search(job.folder / "search").ranked()[0]
    found: dict[str, Any] = {"trial": best.id, "count": len(x)}
    model = load_keras_file(job.folder / "best.keras")
    outputs = model.predict(x, batch_size=256, verbose=0)
    if job.data.class_names:
        correct = int((outputs.argmax(axis=1) == y).sum())
        found |= {
            "metrics": {"accuracy": correct / len(y)},
            "correct": correct,
            "interval": list(wilson_interval(correct, len(y))),
        }
    else:
        error = outputs.reshape(len(y), -1) - np.asarray(y).reshape(len(y), -1)
        found["metrics"] = {"mse": float((error**2).mean())}
    write_json(path, found)
    return found
