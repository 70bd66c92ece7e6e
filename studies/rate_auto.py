"""What `hornbook finetune --learning-rate auto` gives beside the default rate.

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

from arm_rate import development_accuracy
from finetune_rates import development_draw
from harness import Study, is_quick

from hornbook.progress import Progress
from hornbook.zoo.finetune.as_backbone import as_backbone
from hornbook.zoo.finetune.lr_finder import rate_curve
from hornbook.zoo.finetune.start import with_card
from hornbook.zoo.finetune.trainer import Trainer
from hornbook.zoo.finetune.training_data import read_training_data
from hornbook.zoo.runs.compare import ARMS
from hornbook.zoo.runs.config import RunConfig

TASK, BACKBONE = ("hornbook_photo_digits", 3), "glyphnet.letters_rgb"
EPOCHS = 2 if is_quick() else 10
DEFAULT = "the default, 0.03"
AUTO = "auto: the steepest slope"

draw = functools.cache(functools.partial(development_draw, *TASK))


def run_of(seed):
    """The run of a seed."""
    return RunConfig.of({"backbone": BACKBONE, "seed": seed, "epochs": EPOCHS})


@functools.cache
def curve(seed):
    """The head's training loss while the rate rises, on the features that it is for."""
    dataset, config = draw(seed), run_of(seed)
    backbone = as_backbone(BACKBONE)
    settings = with_card(config.training, backbone.card)
    data = read_training_data(
        settings,
        backbone,
        (dataset.train.images, dataset.train.labels),
        None,
        dataset.classes,
    )
    training = Trainer(settings, backbone, data, None, None, (), "memory", Progress())
    features, _ = training.features()
    return rate_curve(training.head, data.task, features, settings, Progress())


RATES = {
    DEFAULT: lambda seed: ARMS["head_then_all"].settings["learning_rate"],
    AUTO: lambda seed: "auto",
    "the valley": lambda seed: curve(seed).valley,
    # Where nothing diverges, of the highest rate tried.
    "a tenth of the diverging rate": lambda seed: curve(seed).tenth or 1.0,
    "a tenth of the default, 0.003": lambda seed: 3e-3,
}


def accuracy(name, seed):
    """Trains head first, then all; the accuracy on development digits in %."""
    rate = RATES[name](seed)
    print(f"{name}, seed {seed}: rate {rate}", flush=True)
    return 100 * development_accuracy("head_then_all", run_of(seed), draw(seed), rate)


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
