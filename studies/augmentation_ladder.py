"""What each step of the image recipe brings: crops, a preset, votes, ensembles, a soup.

Claim:   train on random crops, test on fixed ones and let them vote; augment; average
         several models. Mirror images hurt where a mirrored digit is no digit.
Source:  Krizhevsky et al., NeurIPS 2012; Wortsman et al., ICML 2022; the study notes
         (docs/site/notes.toml), sections "data augmentation" and "ensembles".
Data:    the embedded digits over photographs, 20 labels a class, a fifth of them held
         out for early stopping and for the soup; 1,000 test digits, which choose
         nothing. The head first, then all at a tenth of the rate.
Rule:    holds, if random crops with five that vote beat fixed crops, the ensemble beats
         its members' vote and ten crops with mirror images fall below five, all three
         with p < 0.05; not here, if none does.
Change:  classes whose mirror images are of the same class; more labels, where there is
         less to gain.
Command: python studies/augmentation_ladder.py
Writes:  docs/studies/augmentation_ladder.json and .png
"""

import functools
from dataclasses import replace

import numpy as np
from harness import Study

from hornbook.recipes.inference.greedy_soup import greedy_soup
from hornbook.recipes.inference.recalibrate_batchnorm import recalibrate_batchnorm
from hornbook.zoo.data.arrays.crops import centre_crops
from hornbook.zoo.data.dataset import read_source
from hornbook.zoo.data.splits import draw_dataset
from hornbook.zoo.finetune.inference_model import build_voter
from hornbook.zoo.runs.compare import train_arm
from hornbook.zoo.runs.config import RunConfig

DATA, BACKBONE, SIZE = "tfds:hornbook_photo_digits", "glyphnet.letters_rgb", 32
LABELS, EPOCHS, MEMBERS = 20, 10, 3
RATES = (3e-2, 1.5e-2, 6e-2)  # of the members of a soup
FIXED = "fixed centre crops, one view"
RANDOM = "random crops, one view"
FIVE = "random crops, five vote"
TEN = "random crops, ten vote (mirrored too)"
PRESET = "digits preset, five vote"
ENSEMBLE = f"digits preset, five vote, ensemble of {MEMBERS}"


@functools.cache
def source():
    """The pictures, read once."""
    return read_source(DATA, size=SIZE + 4, channels=3)


@functools.cache
def dataset(seed):
    """The labelled examples of a seed."""
    return draw_dataset(DATA, source(), labels_per_class=LABELS, seed=seed)


@functools.cache
def classifier(seed, augment, member=0, rate=RATES[0]):
    """A classifier of crops; "fixed" has seen no other crop than the centre's."""
    data = dataset(seed)
    config = RunConfig.of(
        {"backbone": BACKBONE, "epochs": EPOCHS, "seed": 100 * member + seed}
    )
    changes = {"learning_rate": rate, "augment": augment}
    if augment == "fixed":
        crops = centre_crops(data.train.images, SIZE)
        data = replace(data, train=replace(data.train, images=crops))
        held = centre_crops(data.validation.images, SIZE)
        data = replace(data, validation=replace(data.validation, images=held))
        changes = {"learning_rate": rate, "random_crop": False}
    return train_arm(config, "head_then_all", data, **changes).classifier


def accuracy(probabilities, seed):
    """In %, on the test digits."""
    return 100 * np.mean(probabilities.argmax(axis=1) == dataset(seed).test.labels)


@functools.cache
def vote(model, seed, views="five"):
    """Probabilities by a vote over crops."""
    images = dataset(seed).test.images
    return build_voter(model, views, "mean").predict(images, batch_size=50, verbose=0)


def one_view(augment, seed):
    """Tested on the centre crop."""
    crops = centre_crops(dataset(seed).test.images, SIZE)
    return accuracy(classifier(seed, augment).predict(crops, verbose=0), seed)


def votes(augment, views, seed):
    """Tested on several crops."""
    return accuracy(vote(classifier(seed, augment), seed, views), seed)


def ensemble(seed):
    """The mean of several trainings on the same examples."""
    members = [classifier(seed, "digits", member) for member in range(MEMBERS)]
    return accuracy(np.mean([vote(each, seed) for each in members], axis=0), seed)


def soup(seed):
    """The mean of the weights of one training at several rates, greedily."""
    data = dataset(seed)
    held = centre_crops(data.validation.images, SIZE)

    def score(model):
        guesses = model.predict(held, verbose=0).argmax(axis=1)
        return np.mean(guesses == data.validation.labels)

    def recalibrate(model):
        recalibrate_batchnorm(model, centre_crops(data.train.images, SIZE))

    members = [classifier(seed, "digits", rate=rate) for rate in RATES]
    mixed = greedy_soup(members, score, recalibrate).model
    return accuracy(vote(mixed, seed), seed)


def decide(arms):
    """The rule of the header."""
    five, ten, best = arms[FIVE], arms[TEN], arms[ENSEMBLE]
    mirrored = np.subtract(ten["values"], five["values"])
    together = np.subtract(best["values"], arms[PRESET]["values"])

    def sure(differences):
        return differences.mean() > 2.776 * differences.std(ddof=1) / 5**0.5

    signs = [
        five["difference"] > 0 and five["p"] < 0.05,
        sure(-mirrored),
        sure(together),
    ]
    verdict = "holds" if all(signs) else "partly" if any(signs) else "not here"
    return verdict, (
        f"Random crops with five that vote bring {five['difference']:+.1f} points over "
        f"fixed ones; mirror images among ten then cost {-mirrored.mean():.1f}; the "
        f"ensemble brings {together.mean():+.1f} over one of its members."
    )


STUDY = Study(
    file=__file__,
    arms={
        FIXED: functools.partial(one_view, "fixed"),
        RANDOM: functools.partial(one_view, None),
        FIVE: functools.partial(votes, None, "five"),
        TEN: functools.partial(votes, None, "ten"),
        PRESET: functools.partial(votes, "digits", "five"),
        "light preset (mirrored too), five vote": functools.partial(
            votes, "light", "five"
        ),
        "strong preset (mirrored too), five vote": functools.partial(
            votes, "strong", "five"
        ),
        ENSEMBLE: ensemble,
        "digits preset, five vote, soup of 3 rates": soup,
    },
    baseline=FIXED,
    measure="Test accuracy on digits over photographs (%)",
    decide=decide,
    setting=f"{LABELS} labels a class, {EPOCHS} epochs",
)

if __name__ == "__main__":
    STUDY.main()
