"""Using a finished run: predictions for files, a score on other data."""

import numpy as np
from scipy.stats import binomtest

from hornbook.zoo.data.images import read_image
from hornbook.zoo.data.sources import all_to_test, load_dataset, read_source
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
    """Scores a finished run on pictures it was not trained on.

    Args:
        folder: A finished run folder.
        spec: "folder:PATH", "tfds:NAME" or "npz:FILE": its test split counts, or all of
            it where it has none. None for the test examples of the run itself.
        skip_bad: Leave out files that can't be read.

    Returns:
        Dict with `data`, `count`, `correct`, `accuracy` and Wilson's 95 % `interval`.

    Raises:
        InputError: if the run or the data can't be used, or a class is not the run's.
    """
    model, config = open_model(folder)
    shape = {"size": config["image_size"], "channels": config["channels"]}
    if spec is None or spec == config["data"]:
        spec = config["data"]
        skip_bad = skip_bad or config["skip_bad"]
        dataset = load_dataset(spec, **shape, seed=config["seed"], skip_bad=skip_bad)
        classes, examples = dataset.classes, dataset.test
    else:
        found = read_source(spec, **shape, skip_bad=skip_bad)
        classes, examples = found.classes, all_to_test(found)
    known = config["classes"]
    if unknown := [name for name in classes if name not in known]:
        raise InputError(
            f"The model does not know {', '.join(unknown)}; it knows "
            f"{', '.join(known)}. Received: {spec}"
        )
    labels = np.array([known.index(name) for name in classes])[examples.labels]
    guesses = model.predict(examples.images, batch_size=50, verbose=0).argmax(axis=1)
    correct, count = int((guesses == labels).sum()), len(labels)
    interval = binomtest(correct, count).proportion_ci(method="wilson")
    return {
        "data": spec,
        "count": count,
        "correct": correct,
        "accuracy": correct / count,
        "interval": [float(interval.low), float(interval.high)],
    }
