"""Whether the rate should fall, and whether Adam can do without a schedule.

Claim:   the rate should fall as training goes on; schedules are for SGD, and of little
         use to optimizers such as Adam, which lower each weight's rate by themselves.
Source:  Loshchilov and Hutter, arXiv 1608.03983; Goyal et al., arXiv 1706.02677; Smith
         and Topin, arXiv 1708.07120; the study notes (docs/site/notes.toml), sections
         "schedules" and "optimizers in practice".
Data:    scikit-learn's digits, 800 to train on, 300 to choose by, 697 to test;
         64-32-10, ReLU, 15 epochs in batches of 40; SGD with momentum 0.9, and Adam.
         Either the digits as they are, which the net learns by heart, or under noise of
         sd 1 in each pixel, drawn anew each time, and tested so. Each schedule has its
         own peak rate: the one of five with the best accuracy on the seed's choosing
         part. All rates are those of Keras's schedules and of our WarmUp and OneCycle.
Rule:    by the mean test accuracy of the notes' three falls (linear, exponential,
         1 / (1 + kt)) over the constant rate, on either data. Four signs: with SGD it
         is higher, p < 0.05; with Adam it is not. Holds, if all; partly, if some; not
         here, if none. The other schedules decide nothing.
Change:  more noise in the gradients, or more steps in it; a rate that is not chosen for
         each schedule.
Command: python studies/schedules.py
Writes:  docs/studies/schedules.json and .png
"""

import functools

import keras
import numpy as np
from harness import Study, by_signs, summarise
from mlp import MLP, digits, train
from optimizers import adam, momentum
from pictures import COLOURS, groups, panels

from hornbook.recipes.optimizers.one_cycle import OneCycle
from hornbook.recipes.optimizers.warm_up import WarmUp

TRAIN, CHOOSE, BATCH, EPOCHS = 800, 300, 40, 15
STEPS = EPOCHS * (TRAIN // BATCH)
WARM = STEPS // 10
OPTIMIZERS = {  # how it is made, and the peak rates to choose from
    "SGD": (momentum, (0.01, 0.03, 0.1, 0.3, 1.0)),
    "Adam": (adam, (0.001, 0.003, 0.01, 0.03, 0.1)),
}
NOISES = {"as they are": 0.0, "under noise": 1.0}
keras_ones = keras.optimizers.schedules
CONSTANT, FALLS = "constant", ("linear", "exponential", "1 / (1 + kt)")
SCHEDULES = {  # with a peak of 1
    CONSTANT: WarmUp(1.0, 0),
    "linear": keras_ones.PolynomialDecay(1.0, STEPS, 0.0),
    "exponential": keras_ones.ExponentialDecay(1.0, STEPS, 0.01),
    "1 / (1 + kt)": keras_ones.InverseTimeDecay(1.0, STEPS, 9.0),
    "steps": keras_ones.PiecewiseConstantDecay(
        [STEPS // 2, 3 * STEPS // 4], [1.0, 0.1, 0.01]
    ),
    "cosine": keras_ones.CosineDecay(1.0, STEPS),
    "warm-up + cosine": WarmUp(keras_ones.CosineDecay(1.0, STEPS - WARM), WARM),
    "one cycle": OneCycle(1.0, STEPS),
}


@functools.cache
def shape(schedule):
    """The rate of each step, as a part of the highest."""
    rates = SCHEDULES[schedule](np.arange(STEPS, dtype="float32"))
    return keras.ops.convert_to_numpy(rates).astype(float)


def scheduled(step, rates):
    """An optimizer whose steps have a rate each."""
    rates = iter(rates)
    return lambda gradient: next(rates) * step(gradient)


@functools.cache
def data(noise, seed):
    """Training, choosing and test parts; under noise the last two come five times."""
    x, y, rest_x, rest_y = digits(seed, train=TRAIN, test=1797 - TRAIN)
    rng, sd = np.random.default_rng(seed), NOISES[noise]
    parts = [(x, y)]
    for part in (slice(CHOOSE), slice(CHOOSE, None)):
        times = 5 if sd else 1
        clean = np.tile(rest_x[part], (times, 1))
        seen = clean + sd * rng.normal(size=clean.shape)
        parts.append((seen, np.tile(rest_y[part], times)))
    return parts


def trained(noise, optimizer, schedule, peak, seed):
    """A net after the whole budget."""
    (x, y), *_ = data(noise, seed)
    rng = np.random.default_rng(seed)
    net = MLP((64, 32, 10), "relu", rng)
    step = scheduled(OPTIMIZERS[optimizer][0](), peak * shape(schedule))
    for _ in range(EPOCHS):
        seen = x + NOISES[noise] * rng.normal(size=x.shape)
        train(net, seen, y, step, 1.0, 1, rng, batch=BATCH)
    return net


def arm(noise, optimizer, schedule, seed):
    """Test accuracy in %; the test loss, and the peak rate that was chosen."""
    _, chosen, tested = data(noise, seed)
    nets = {
        peak: trained(noise, optimizer, schedule, peak, seed)
        for peak in OPTIMIZERS[optimizer][1]
    }
    peak, net = max(
        nets.items(), key=lambda each: (each[1].accuracy(*chosen), -each[0])
    )
    return net.accuracy(*tested), {"peak": peak, "loss": round(net.loss(*tested), 4)}


def name(noise, optimizer, schedule):
    """Of an arm."""
    return f"digits {noise}, {optimizer}: {schedule}"


def gains(arms, noise, optimizer, schedules):
    """Mean accuracy of some schedules over a constant rate, as the harness has it."""
    values = [arms[name(noise, optimizer, each)]["values"] for each in schedules]
    return summarise(
        list(np.mean(values, axis=0)), arms[name(noise, optimizer, CONSTANT)]["values"]
    )


def decide(arms):
    """The rule of the header."""
    signs, told = [], []
    for noise in NOISES:
        for optimizer in OPTIMIZERS:
            row = gains(arms, noise, optimizer, FALLS)
            by, p = row.get("difference", 0.0), row.get("p", 1.0)
            better = by > 0 and p < 0.05
            signs.append(better if optimizer == "SGD" else not better)
            low, high = row.get("interval", (0.0, 0.0))
            told.append(
                f"digits {noise}, {optimizer}: {by:+.2f} ({low:.2f} to {high:.2f}, "
                f"p = {p:.2g})"
            )
    return by_signs(signs), (
        f"What the notes' three falls bring over the best constant rate, in points and "
        f"with the 95 % interval: {'; '.join(told)}."
    )


def picture(result):
    """The schedules, and what each gains over the constant rate."""
    figure, (first, *others) = panels(3, width=4.4, height=4.2)
    styles = ("-", "--", "-.", ":")
    for place, schedule in enumerate(SCHEDULES):
        colour = COLOURS[place % len(COLOURS)]
        style = styles[place % len(styles)]
        first.plot(shape(schedule), style, color=colour, label=schedule)
    first.set(xlabel="Step", ylabel="Rate (part of the highest)", ylim=(0, 1.75))
    first.set_yticks([0, 0.25, 0.5, 0.75, 1])
    first.legend(frameon=False, fontsize=9, ncols=2, loc="upper center")
    names = [each for each in SCHEDULES if each != CONSTANT]
    others[1].sharey(others[0])
    for axes, optimizer in zip(others, OPTIMIZERS, strict=True):
        table = {}
        for noise in NOISES:
            arms = [
                result["arms"][name(noise, optimizer, each)]["values"]
                for each in (CONSTANT, *names)
            ]
            table[f"digits {noise}"] = [np.subtract(a, arms[0]) for a in arms[1:]]
        groups(axes, names, table)
        axes.axhline(0, color="#595959", lw=1)
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
        title = f"{optimizer}, {len(result['seeds'])} seeds, mean ± sd"
        axes.set_title(title, size=10)
    others[0].set_ylabel("Accuracy over a constant rate's (points)")
    others[0].legend(frameon=False, fontsize=9, loc="lower right")
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(noise, optimizer, schedule): functools.partial(
            arm, noise, optimizer, schedule
        )
        for noise in NOISES
        for optimizer in OPTIMIZERS
        for schedule in SCHEDULES
    },
    baseline=name("under noise", "SGD", CONSTANT),
    measure="Test accuracy on digits (%)",
    decide=decide,
    seeds=tuple(range(20)),
    setting=f"64-32-10, {EPOCHS} epochs, each schedule at its own peak rate",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
