"""The test score of a classifier, with and without a vote over crops."""

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from hornbook.zoo.data.crops import centre_crops
from hornbook.zoo.finetune.model import VIEWS, build_voter


def score(classifier, test, job):
    """Tests a classifier on its centre crop, and by the job's vote.

    Args:
        classifier: Model from crops to probabilities.
        test: `Examples` with pictures bigger than a crop.
        job: Names the views and how they are merged.

    Returns:
        `(metrics, probabilities)`: what metrics.json tells of the test, and the
        probabilities `(examples, classes)` that count.
    """
    size = classifier.input_shape[1]
    single = classifier.predict(
        centre_crops(test.images, size), batch_size=250, verbose=0
    )
    right = single.argmax(axis=1) == test.labels
    metrics = {"test": {"single": _accuracy(right), "voted": None}}
    probabilities = single
    if job.views != "none":
        voter = build_voter(classifier, job.views, job.merge)
        probabilities = voter.predict(test.images, batch_size=50, verbose=0)
        voted_right = probabilities.argmax(axis=1) == test.labels
        metrics["test"]["voted"] = {
            **_accuracy(voted_right),
            "views": VIEWS[job.views],
            "merge": job.merge,
            **_compare(right, voted_right),
        }
    metrics["confusion"] = confusion_matrix(
        test.labels,
        probabilities.argmax(axis=1),
        labels=np.arange(probabilities.shape[1]),
    ).tolist()
    return metrics, probabilities


def _accuracy(right):
    return {"correct": int(right.sum()), "accuracy": float(right.mean())}


def _compare(before, after):
    """What a change mended and what it broke, with McNemar's exact test."""
    mended, broke = int((~before & after).sum()), int((before & ~after).sum())
    changed = mended + broke
    p = binomtest(mended, changed).pvalue if changed else 1.0
    return {"wrong_to_right": mended, "right_to_wrong": broke, "mcnemar_p": float(p)}
