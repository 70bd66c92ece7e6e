"""Measures whether each shipped backbone transfers: a linear probe on its features.

Claim:   what the backbones learned of letters helps to tell handwritten digits, which
         they never saw, from few labels.
Data:    the photo digits, 5 labels a class drawn from 797; the same 1,000 test digits
         for every draw. Nothing is chosen by them. Backbones in colour.
Arms:    the shipped weights; the same architecture with random weights, anew for each
         seed; the pixels alone. Each feeds the same logistic regression (C = 1) on
         standardised features of the centre crop.
Command: python studies/zoo_transfer.py
Writes:  docs/studies/zoo_transfer.json and .png
"""

import platform
from importlib.metadata import version

import keras
import numpy as np
from harness import publish
from pictures import groups, legend_below, panels
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hornbook.zoo.backbones import open_backbone
from hornbook.zoo.data.crops import centre_crops
from hornbook.zoo.data.few_labels import draw_few
from hornbook.zoo.data.hornbook_digits import POOL
from hornbook.zoo.data.hornbook_photo_digits import photo_digits
from hornbook.zoo.weights import read_card, weight_ids

SEEDS, LABELS = range(5), 5


def probe(features, labels, seed):
    """Test accuracy of a linear classifier from a few labels a class."""
    few = draw_few(labels[:POOL], LABELS, seed)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(features[few], labels[few])
    return model.score(features[POOL:], labels[POOL:])


def features(backbone, images):
    """Of every picture, `(examples, n)`."""
    return backbone.model.predict(images, batch_size=200, verbose=0)


def measure(weights_id):
    """Accuracies of each arm, by seed."""
    images, labels = photo_digits()
    images = centre_crops(images, read_card(weights_id)["input_shape"][0])
    shipped = features(open_backbone(weights_id), images)
    pixels = images.reshape(len(images), -1)
    arms = {"shipped": [], "random": [], "pixels": []}
    for seed in SEEDS:
        keras.utils.set_random_seed(seed)
        fresh = features(open_backbone(weights_id, weights=None), images)
        for arm, of_all in (
            ("shipped", shipped),
            ("random", fresh),
            ("pixels", pixels),
        ):
            arms[arm].append(probe(of_all, labels, seed))
    return arms


def row(arms):
    """Mean and spread of each arm, and the shipped weights' gain over random ones."""
    gain = np.subtract(arms["shipped"], arms["random"])
    half = stats.t.ppf(0.975, len(gain) - 1) * stats.sem(gain)
    return {
        **{
            arm: {
                "accuracies": [round(each, 4) for each in values],
                "mean": round(float(np.mean(values)), 4),
                "sd": round(float(np.std(values, ddof=1)), 4),
            }
            for arm, values in arms.items()
        },
        "gain over random": {
            "mean": round(float(gain.mean()), 4),
            "interval": [
                round(float(gain.mean() + sign * half), 4) for sign in (-1, 1)
            ],
        },
    }


def picture(result):
    """The arms of each backbone side by side."""
    rows = result["rows"]
    figure, [axes] = panels(1, width=2 + 1.8 * len(rows))
    table = {
        f"{arm} weights" if arm != "pixels" else arm: [
            [100 * value for value in row[arm]["accuracies"]] for row in rows.values()
        ]
        for arm in ("shipped", "random", "pixels")
    }
    groups(axes, list(rows), table)
    axes.set_xlim(-0.5, len(rows) - 0.5)
    axes.set_ylabel("Test accuracy (%), 5 seeds: mean ± sd")
    legend_below(figure, axes, columns=3)
    return figure


def main():
    """Measures all shipped weights in colour, and writes the figures."""
    rows = {}
    for weights_id in weight_ids():
        if read_card(weights_id)["input_shape"][-1] == 3:
            rows[weights_id] = row(measure(weights_id))
            print(weights_id, rows[weights_id], flush=True)
    result = {
        "command": "python studies/zoo_transfer.py",
        "data": "hornbook_photo_digits, 1,000 test digits",
        "labels_per_class": LABELS,
        "seeds": list(SEEDS),
        "machine": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in ("keras", "scikit-learn")},
        "rows": rows,
    }
    publish(result, picture(result), "zoo_transfer")


if __name__ == "__main__":
    main()
