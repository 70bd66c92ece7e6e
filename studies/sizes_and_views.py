"""Training on crops of random size, and voting over sizes, where objects come in many.

Claim:   resize at random and crop while training, test at several sizes or on the whole
         picture: the net learns to tell objects of any size.
Source:  Szegedy et al., CVPR 2015; Simonyan and Zisserman, ICLR 2015; Howard, ICLR
         2014; the study notes (docs/site/notes.toml), section "data augmentation".
Data:    the embedded digits over photographs, 28×28 pixels; 20 labels a class to train
         on, crops of 24; all 1,000 test digits, as they are, and each zoomed about its
         centre by its own factor from 0.6 to 1.5. A convolutional net from scratch, as
         in augmentation_presets.
Rule:    four signs, on the zoomed digits. Of one centre view, RandomResizedCrop and
         ScaleJitter each beat RandomCrop; of a net with ScaleJitter, MultiScaleViews
         and FullImageView each beat the centre view; all with p < 0.05. Holds, if all;
         partly, if some; not here, if none.
Change:  objects of one size, for which the crops of one size are made.
Command: python studies/sizes_and_views.py
Writes:  docs/studies/sizes_and_views.json and .png
"""

import functools

import keras
import numpy as np
from augmentation_presets import BATCH, EPOCHS, LABELS, SETS, SIZE, build, traced
from harness import Study, by_signs, lead
from pictures import groups, legend_below, panels
from scipy import ndimage
from small_nets import renew

from hornbook.recipes.augmentation.random_crop import RandomCrop
from hornbook.recipes.augmentation.random_resized_crop import RandomResizedCrop
from hornbook.recipes.augmentation.scale_jitter import ScaleJitter
from hornbook.recipes.inference.full_image_view import FullImageView
from hornbook.recipes.inference.multi_scale_views import MultiScaleViews
from hornbook.recipes.inference.ten_crop import TenCrop
from hornbook.recipes.inference.voting_model import VotingModel
from hornbook.zoo.data.arrays.crops import centre_crops
from hornbook.zoo.data.arrays.few_labels import draw_few
from hornbook.zoo.data.dataset import read_source

WHOLE, ZOOMS = 28, (0.6, 1.5)
TRAININGS = {
    "fixed crops": None,
    "RandomCrop": lambda seed: RandomCrop(SIZE, SIZE, seed=seed),
    "RandomResizedCrop": lambda seed: RandomResizedCrop(
        SIZE, SIZE, scale=(0.4, 1), seed=seed
    ),
    "ScaleJitter": lambda seed: ScaleJitter(SIZE, SIZE, (SIZE, 38), seed=seed),
}
VIEWS = {
    "centre": None,
    "five crops": TenCrop(SIZE, SIZE, flips=False),
    "several sizes": MultiScaleViews(SIZE, SIZE, (SIZE, 28, 34), flips=False),
    "whole picture": FullImageView(SIZE, SIZE),
}
TESTS = "as they are", "zoomed"
PAIRS = [(training, "centre") for training in TRAININGS]
PAIRS += [("ScaleJitter", views) for views in VIEWS if views != "centre"]


@functools.cache
def splits():
    """The splits, read once."""
    return read_source(SETS["photo"], size=WHOLE, channels=3).splits


@functools.cache
def tested(how):
    """The test digits' pictures."""
    images = splits()["test"].images
    if how == TESTS[0]:
        return images
    rng = np.random.default_rng(0)
    zooms = np.exp(rng.uniform(*np.log(ZOOMS), len(images)))
    middle = (WHOLE - 1) / 2
    zoomed = [
        ndimage.affine_transform(
            image,
            [1 / zoom, 1 / zoom, 1],
            [middle - middle / zoom, middle - middle / zoom, 0],
            order=1,
            mode="mirror",
        )
        for image, zoom in zip(images, zooms, strict=True)
    ]
    return np.stack(zoomed)


@functools.cache
def trained(training, seed):
    """The weights of a net from scratch."""
    pool = splits()["train"]
    train = pool.take(draw_few(pool.labels, LABELS, seed))
    make = TRAININGS[training]
    view = make(seed) if make else lambda images, training: centre_crops(images, SIZE)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(train)) for _ in range(EPOCHS)]
    x = np.concatenate(
        [
            keras.ops.convert_to_numpy(view(train.images[order], training=True))
            for order in orders
        ]
    )
    y = train.labels[np.concatenate(orders)]
    model = renew(traced(), build(seed))
    model.fit(x, y, BATCH, shuffle=False, verbose=0)
    return model.get_weights()


@functools.cache
def voter(views):
    """The shared net, voting."""
    return VotingModel(traced(), VIEWS[views], merge="mean")


def arm(training, views, test, seed):
    """Test accuracy in %."""
    weights, images = trained(training, seed), tested(test)
    model = traced() if views == "centre" else voter(views)
    traced().set_weights(weights)
    x = centre_crops(images, SIZE) if views == "centre" else images
    guesses = model.predict(x, 200, verbose=0).argmax(1)
    return 100 * float(np.mean(guesses == splits()["test"].labels))


def name(training, views, test):
    """Of an arm."""
    return f"digits {test}: {training}, {views}"


def decide(arms):
    """The rule of the header."""

    def told(pairs, test):
        for (training, views), (other, others_views) in pairs:
            by = lead(
                arms, name(training, views, test), name(other, others_views, test)
            )
            what = views if training == other else training
            yield f"{what} {by[0]:+.1f} (p = {by[1]:.2g})", by[0] > 0 and by[1] < 0.05

    crops = [
        ((training, "centre"), ("RandomCrop", "centre"))
        for training in ("RandomResizedCrop", "ScaleJitter")
    ]
    votes = [
        (("ScaleJitter", views), ("ScaleJitter", "centre"))
        for views in ("several sizes", "whole picture", "five crops")
    ]
    signs, sentences = [], []
    for test in TESTS[::-1]:
        over_crops, over_centre = list(told(crops, test)), list(told(votes, test))
        sentences.append(
            f"On digits {test}, in points: over RandomCrop "
            f"{', '.join(text for text, _ in over_crops)}; over the centre view "
            f"{', '.join(text for text, _ in over_centre)}."
        )
        if test == "zoomed":
            signs = [good for _, good in over_crops + over_centre[:2]]
    return by_signs(signs), " ".join(sentences)


def picture(result):
    """Trainings and views, for both tests side by side."""
    figure, [axes] = panels(1, width=9, height=4)
    table = {
        f"digits {test}": [
            result["arms"][name(*pair, test)]["values"] for pair in PAIRS
        ]
        for test in TESTS
    }
    groups(axes, [f"{training},\n{views}" for training, views in PAIRS], table)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylabel(f"{result['measure']}\n{len(result['seeds'])} seeds, mean ± sd")
    legend_below(figure, axes)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(*pair, test): functools.partial(arm, *pair, test)
        for test in TESTS
        for pair in PAIRS
    },
    baseline=name("RandomCrop", "centre", "as they are"),
    measure="Test accuracy on digits over photographs (%)",
    decide=decide,
    seeds=tuple(range(10)),
    setting=f"{LABELS} labels a class, a net from scratch, {EPOCHS} epochs",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
