"""The test score of a classifier, with and without a vote over crops."""

from typing import Any

import keras
import numpy as np
from sklearn.metrics import confusion_matrix

from hornbook.recipes.inference.voting_report import voting_report
from hornbook.zoo.data.arrays.crops import CentreCrops
from hornbook.zoo.data.arrays.examples import Examples
from hornbook.zoo.finetune.inference_model import CROPS, build_voter
from hornbook.zoo.runs.config import TestOptions

AT_ONCE = 1000  # pictures that are in memory at one time
CHANGES = ("wrong_to_right", "right_to_wrong", "mcnemar_p")


def score(
    classifier: keras.Model, test: Examples, options: TestOptions
) -> tuple[dict[str, Any], np.ndarray]:
    """Tests a classifier on its centre crop, and by a vote over crops.

    Args:
        classifier: Model from crops to probabilities.
        test: `Examples` with pictures bigger than a crop.
        options: `TestOptions`: the crops and how they are merged.

    Returns:
        `(metrics, probabilities)`: what metrics.json tells of the test, and the
        probabilities `(examples, classes)` that count.
    """
    size = classifier.input_shape[1]
    single = _predict(classifier, CentreCrops(test.images, size), batch_size=250)
    guesses = single.argmax(axis=1)
    metrics = {"test": {"single": _accuracy(guesses == test.labels), "voted": None}}
    probabilities = single
    if options.test_crops != "none":
        voter = build_voter(classifier, options.test_crops, options.merge)
        probabilities = _predict(voter, test.images, batch_size=50)
        voted = probabilities.argmax(axis=1)
        report = voting_report(test.labels, guesses, voted)
        metrics["test"]["voted"] = {
            **_accuracy(voted == test.labels),
            "crops": CROPS[options.test_crops],
            "merge": options.merge,
            **{name: report[name] for name in CHANGES},
        }
    metrics["confusion"] = confusion_matrix(
        test.labels,
        probabilities.argmax(axis=1),
        labels=np.arange(probabilities.shape[1]),
    ).tolist()
    return metrics, probabilities


def _predict(model, images, batch_size):
    """In parts, since the pictures may be on disk."""
    parts = (
        model.predict(images[start : start + AT_ONCE], batch_size, verbose=0)
        for start in range(0, len(images), AT_ONCE)
    )
    return np.concatenate(list(parts))


def _accuracy(right):
    return {"correct": int(right.sum()), "accuracy": float(right.mean())}
