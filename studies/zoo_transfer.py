"""Measures whether each shipped backbone transfers: a linear probe on its features.

Claim:   what the backbones learned of letters helps to tell handwritten digits, which
         they never saw, from few labels.
Source:  Kornblith et al., "Do Better ImageNet Models Transfer Better?", CVPR 2019,
         whose probe is a logistic regression too; the study notes
         (docs/site/notes.toml), section "transfer learning".
Data:    the photo digits, 5 labels a class drawn from 797; the same 1,000 test digits
         for every draw. Nothing is chosen by them. Backbones in colour, with the
         shipped weights and with random ones, anew for each seed; and the pixels
         alone. Each feeds the same logistic regression (C = 1) on standardised
         features of the centre crop.
Rule:    two signs a backbone: the shipped weights beat random ones, and the pixels,
         p < 0.05. Holds, if all; partly, if some; not here, if none.
Change:  another task, further from letters; many labels.
Command: python studies/zoo_transfer.py
Writes:  docs/studies/zoo_transfer.json and .png
"""

import functools

import keras
from harness import Study, by_signs, lead
from pictures import groups, legend_below, panels
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hornbook.zoo.backbones import open_backbone
from hornbook.zoo.backbones.shipped_weights import read_card, weight_ids
from hornbook.zoo.data.arrays.crops import centre_crops
from hornbook.zoo.data.arrays.few_labels import draw_few
from hornbook.zoo.data.builders.hornbook_digits import POOL
from hornbook.zoo.data.builders.hornbook_photo_digits import photo_digits

LABELS, PIXELS = 5, "the pixels alone"
SHAPES = {each: read_card(each)["input_shape"] for each in weight_ids()}
SIDES = {each: shape[0] for each, shape in SHAPES.items() if shape[-1] == 3}
digits = functools.cache(photo_digits)


def features(backbone, **weights):
    """Of every picture, `(examples, n)`."""
    images = centre_crops(digits()[0], SIDES[backbone])
    opened = open_backbone(backbone, **weights)
    return opened.model.predict(images, batch_size=200, verbose=0)


shipped = functools.cache(features)


def probe(found, seed):
    """Test accuracy in % of a linear classifier from a few labels a class."""
    labels = digits()[1]
    few = draw_few(labels[:POOL], LABELS, seed)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(found[few], labels[few])
    return 100 * model.score(found[POOL:], labels[POOL:])


def with_shipped(backbone, seed):
    """On what the shipped weights see."""
    return probe(shipped(backbone), seed)


def with_random(backbone, seed):
    """On what random weights see."""
    keras.utils.set_random_seed(seed)
    return probe(features(backbone, weights=None), seed)


def with_pixels(seed):
    """On the centre crops themselves."""
    images = centre_crops(digits()[0], min(SIDES.values()))
    return probe(images.reshape(len(images), -1), seed)


def name(backbone, weights):
    """Of an arm."""
    return f"{backbone}, {weights} weights"


def decide(arms):
    """The rule of the header."""
    signs, told = [], []
    for backbone in SIDES:
        leads = [
            lead(arms, name(backbone, "shipped"), other)
            for other in (name(backbone, "random"), PIXELS)
        ]
        signs += [by > 0 and p < 0.05 for by, p in leads]
        told.append(f"{backbone} {leads[0][0]:+.1f} and {leads[1][0]:+.1f}")
    return by_signs(signs), (
        "Over random weights and over the pixels, in points: " + "; ".join(told) + "."
    )


def picture(result):
    """The weights of each backbone side by side."""
    arms = result["arms"]
    figure, [axes] = panels(1, width=2 + 1.8 * len(SIDES))
    table = {
        f"{weights} weights": [arms[name(each, weights)]["values"] for each in SIDES]
        for weights in ("shipped", "random")
    }
    table["pixels"] = [arms[PIXELS]["values"]] * len(SIDES)
    groups(axes, list(SIDES), table)
    axes.set_xlim(-0.5, len(SIDES) - 0.5)
    axes.set_ylabel(f"Test accuracy (%), {len(result['seeds'])} seeds: mean ± sd")
    legend_below(figure, axes, columns=3)
    return figure


STUDY = Study(
    file=__file__,
    arms={PIXELS: with_pixels}
    | {
        name(backbone, weights): functools.partial(arm, backbone)
        for backbone in SIDES
        for weights, arm in (("shipped", with_shipped), ("random", with_random))
    },
    baseline=PIXELS,
    measure="Test accuracy on digits over photographs (%)",
    decide=decide,
    setting=f"logistic regression on frozen features, {LABELS} labels a class",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
