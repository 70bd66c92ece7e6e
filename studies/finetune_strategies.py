"""Ways to fine-tune a backbone: which blocks learn when, and how fast.

Claim:   what a backbone learned first should change least: train the head first, thaw
         block after block, or give earlier blocks smaller rates, rather than train
         everything at one rate.
Source:  Howard and Ruder, "Universal Language Model Fine-tuning for Text
         Classification", ACL 2018; Clark et al., "ELECTRA", ICLR 2020, whose rates fall
         with depth; the study notes (docs/site/notes.toml), section "transfer
         learning".
Data:    the embedded digits over photographs, 10 labels a class, 1,000 test digits;
         glyphnet.letters_rgb, 20 epochs in batches of 16, no augmentation. Each way has
         the best of four rates, by two other draws of labels and what these leave of
         the training pool. (The rates went from 0.001 to 0.03 at first, and four ways
         took the highest; they go from 0.003 to 0.1 since.)
Rule:    four signs: all at 0.1 of the head's rate, head first, block after block and
         rates that fall with depth each beat one rate for all, p < 0.05. Holds, if all;
         partly, if some; not here, if none.
Change:  more labels, where there is less to lose; data that are less like letters.
Command: python studies/finetune_strategies.py
Writes:  docs/studies/finetune_strategies.json and .png
"""

import functools

import keras
import numpy as np
from harness import Study, by_signs, is_quick, lead

from hornbook.zoo import fine_tune
from hornbook.zoo.data.arrays.crops import centre_crops
from hornbook.zoo.data.arrays.few_labels import draw_few
from hornbook.zoo.data.builders.hornbook_digits import POOL
from hornbook.zoo.data.builders.hornbook_photo_digits import photo_digits

BACKBONE, LABELS, BATCH = "glyphnet.letters_rgb", 10, 16
EPOCHS = 4 if is_quick() else 20
RATES, OTHERS = (3e-3, 1e-2, 3e-2, 1e-1), (100, 101)
if is_quick():
    RATES = RATES[1:2]
ONE = "all at one rate"
WAYS = {
    ONE: {"strategy": "full", "backbone_lr_multiplier": 1.0},
    "the head alone": {"strategy": "linear_probe"},
    "all, the backbone at 0.1 of the rate": {"strategy": "full"},
    "head first, then all at 0.1": {"strategy": "head_then_all"},
    "head first, then block after block at 0.1": {"strategy": "gradual_unfreezing"},
    "all, each block at 0.75 of the next one's rate": {"strategy": "layer_decay"},
}


@functools.cache
def digits():
    """Pictures of 32 pixels a side, and their labels."""
    images, labels = photo_digits()
    return centre_crops(images, 32), labels


def accuracy(way, rate, seed, scored=None):
    """In %, on some examples; on what the draw leaves of the pool, if None."""
    x, y = digits()
    few = draw_few(y[:POOL], LABELS, seed)
    scored = np.setdiff1d(np.arange(POOL), few) if scored is None else scored
    tuned = fine_tune(
        BACKBONE,
        (x[few], y[few]),
        **WAYS[way],
        learning_rate=rate,
        # As for `hornbook finetune` where the way is to hold them, and no crops: the
        # ways differ in their rates alone.
        batchnorm="frozen",
        random_crop=False,
        epochs=EPOCHS,
        batch_size=BATCH,
        seed=seed,
        jit_compile=False,  # to compile by it takes longer than to train
    )
    guesses = tuned.model.predict(x[scored], 250, verbose=0).argmax(1)
    keras.utils.clear_session()
    return 100 * float(np.mean(guesses == y[scored]))


@functools.cache
def best_rate(way):
    """By the mean over other draws."""
    if len(RATES) == 1:
        return RATES[0]
    means = [np.mean([accuracy(way, rate, seed) for seed in OTHERS]) for rate in RATES]
    return RATES[int(np.argmax(means))]


def arm(way, seed):
    """Accuracy in % on the test digits."""
    rate = best_rate(way)
    test = np.arange(POOL, len(digits()[1]))
    return accuracy(way, rate, seed, test), {"rate": rate}


def decide(arms):
    """The rule of the header."""
    leads = {way: lead(arms, way, ONE) for way in WAYS if way != ONE}
    signs = [points > 0 and p < 0.05 for points, p in list(leads.values())[1:]]
    told = (f"{way} {points:+.1f} (p = {p:.2f})" for way, (points, p) in leads.items())
    return by_signs(signs), f"In points over one rate for all: {'; '.join(told)}."


STUDY = Study(
    file=__file__,
    arms={way: functools.partial(arm, way) for way in WAYS},
    baseline=ONE,
    measure="Test accuracy on digits over photographs (%)",
    decide=decide,
    setting=f"{LABELS} labels a class, {EPOCHS} epochs, the best of four rates",
)

if __name__ == "__main__":
    STUDY.main()
