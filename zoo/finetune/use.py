"""Using a finished run: predictions for files, a score on other data."""

import numpy as np
from scipy.stats import binomtest

from hornbook.zoo.data.images import read_image
from hornbook.zoo.data.sources import load_dataset
from hornbook.zoo.errors import InputError
from hornbook.zoo.finetune.run import open_model


def predict_files(folder, paths, top=3):
    """The most probable classes of pictures.

    Args:
        folder: A finished run folder.
        paths: Paths of picture files, of any sizes.
        top: How many classes to name for each.

    Returns:
        List of `{"image": path, "top": [{"class": ..., "probability": ...}, ...]}`.

    Raises:
        InputError: if the run or a picture can't be read.
    """
    model, config = open_model(folder)
    pictures = [read_image(path, config["channels"]) for path in paths]
    results = []
    for path, picture in zip(paths, pictures, strict=True):
        probabilities = np.asarray(model(picture[None], training=False))[0]
        best = np.argsort(-probabilities, kind="stable")[:top]
        named = [
            {"class": config["classes"][k], "probability": float(probabilities[k])}
            for k in best
        ]
        results.append({"image": str(path), "top": named})
    return results


def evaluate_run(folder, spec=None, skip_bad=False):
    """Scores a finished run on the test split of a data set.

    Args:
        folder: A finished run folder.
        spec: "folder:PATH", "tfds:NAME" or "npz:FILE"; None for the run's own data.
        skip_bad: Leave out files that can't be read.

    Returns:
        Dict with `data`, `count`, `correct`, `accuracy` and Wilson's 95 % `interval`.

    Raises:
        InputError: if the run or the data can't be used, or their classes differ.
    """
    model, config = open_model(folder)
    dataset = load_dataset(
        spec or config["data"],
        size=config["image_size"],
        channels=config["channels"],
        seed=config["seed"],
        skip_bad=skip_bad or config["skip_bad"],
    )
    if list(dataset.classes) != config["classes"]:
        raise InputError(
            f"The model knows the classes {', '.join(config['classes'])}; the data has "
            f"{', '.join(dataset.classes)}. Received: {spec}"
        )
    probabilities = model.predict(dataset.test.images, batch_size=50, verbose=0)
    correct = int((probabilities.argmax(axis=1) == dataset.test.labels).sum())
    count = len(dataset.test.labels)
    interval = binomtest(correct, count).proportion_ci(method="wilson")
    return {
        "data": dataset.name,
        "count": count,
        "correct": correct,
        "accuracy": correct / count,
        "interval": [float(interval.low), float(interval.high)],
    }
