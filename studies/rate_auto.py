"""What `hornbook finetune --rate auto` gives beside the default rate.

Claim:   one short run on the training examples finds a rate that does as well as the
         default, which was chosen by training many times.
Source:  Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.
Data:    photo digits, 5 labels a class, as studies/finetune_rates.py draws them: what
         is left of the training pool to score on; the test split is not read. The
         suggestion (steepest) and the default (0.03) were chosen on draws 100 to 102.
Rule:    holds, if the 95 % interval of auto's difference to the default lies above -1
         point; not here, if it lies below 0; else partly.
Change:  a task that the default was not chosen on, where auto has more to win.
Command: python studies/rate_auto.py
Writes:  docs/studies/rate_auto.json and .png
"""

import functools
from dataclasses import replace

import keras
from finetune_rates import development_draw
from harness import Study, is_quick

from hornbook.zoo.data.arrays.crops import centre_crops
from hornbook.zoo.finetune.arms import ARMS
from hornbook.zoo.finetune.train import find_rate, rate_curve, train_arm

TASK, BACKBONE = ("hornbook_photo_digits", 3), "glyphnet.letters_rgb"
BATCH, EPOCHS = 32, 2 if is_quick() else 10
DEFAULT = "the default, 0.03"
AUTO = "auto: the steepest slope"

draw = functools.cache(functools.partial(development_draw, *TASK))
curve = functools.cache(lambda seed: rate_curve(draw(seed), BACKBONE, BATCH, seed))
RATES = {
    DEFAULT: lambda seed: ARMS["thaw"].rate,
    AUTO: lambda seed: find_rate(draw(seed), BACKBONE, BATCH, seed),
    "the valley": lambda seed: curve(seed).valley,
    # Where nothing diverges, of the highest rate tried.
    "a tenth of the diverging rate": lambda seed: curve(seed).tenth or 1.0,
    "a tenth of the default, 0.003": lambda seed: ARMS["thaw"].rate / 10,
}


def accuracy(name, seed):
    """Trains head first, then all; the accuracy on development digits in %."""
    rate = RATES[name](seed)
    print(f"{name}, seed {seed}: rate {rate:.2g}", flush=True)
    dataset = draw(seed)
    trained = train_arm(
        replace(ARMS["thaw"], rate=rate),
        dataset,
        BACKBONE,
        epochs=EPOCHS,
        batch_size=BATCH,
        seed=seed,
    )
    size = trained.classifier.input_shape[1]
    crops = centre_crops(dataset.test.images, size)
    guesses = trained.classifier.predict(crops, batch_size=250, verbose=0)
    keras.utils.clear_session()  # else the graphs of all cells stay in memory
    return 100 * (guesses.argmax(axis=1) == dataset.test.labels).mean()


def decide(arms):
    """The rule of the header."""
    auto = arms[AUTO]
    low, high = auto.get("interval", (0, 0))
    verdict = "holds" if low > -1 else "not here" if high < 0 else "partly"
    return verdict, (
        f"Auto gives {auto['mean']:.1f} % beside the default's "
        f"{arms[DEFAULT]['mean']:.1f} %: {auto.get('difference', 0):+.1f} points, 95 % "
        f"interval {low:.1f} to {high:.1f}."
    )


STUDY = Study(
    file=__file__,
    arms={
        name: functools.partial(accuracy, name)
        for name in ((DEFAULT, AUTO) if is_quick() else RATES)
    },
    baseline=DEFAULT,
    measure="Accuracy on development photo digits, 5 labels a class (%)",
    decide=decide,
    seeds=tuple(range(200, 205)),
    setting=f"head first, then all at 0.1 of the rate; {EPOCHS} epochs, batches of 32",
)

if __name__ == "__main__":
    STUDY.main()
