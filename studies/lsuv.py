"""Whether to scale each layer by the data it sees beats the formulas for the start.

Claim:   LSUV starts deep plain nets as well as Xavier's and Kaiming's formulas do, and
         better where the activation's gain is not known.
Source:  Mishkin and Matas, "All You Need Is a Good Init", ICLR 2016.
Data:    scikit-learn's digits, 500 to train on, 500 to test; nets of 16 dense layers,
         64 wide, without normalisation, in batches of 25 for 10 passes; SGD, each start
         at the best of four rates by the accuracy on 100 of the training digits.
Rule:    by activation. ReLU and tanh: LSUV is no more than a point below the formula
         that is made for it. SiLU and softplus, for which there is none: LSUV beats
         both formulas, p < 0.05. Holds, if all four do; partly, if some; not here, if
         none.
Change:  normalisation layers, residual connections, shallow nets: there any start does.
Command: python studies/lsuv.py
Writes:  docs/studies/lsuv.json and .png
"""

import functools

import keras
import numpy as np
from harness import Study, by_signs, is_quick, lead
from mlp import digits
from pictures import groups, legend_below, panels
from small_nets import in_one_go, renew

from hornbook.recipes.initializers.kaiming import Kaiming
from hornbook.recipes.initializers.lsuv import lsuv
from hornbook.recipes.initializers.xavier import Xavier

LAYERS, WIDTH, BATCH, EPOCHS, HELD = 16, 64, 25, 10, 100
RATES = (3e-2,) if is_quick() else (1e-3, 1e-2, 3e-2, 1e-1)
STARTS = {"Xavier": Xavier, "Kaiming": Kaiming, "LSUV": Xavier}
MADE_FOR = {"tanh": "Xavier", "relu": "Kaiming", "silu": None, "softplus": None}


def build(activation, start, seed):
    """A deep plain net, compiled."""
    model = keras.Sequential([keras.Input((64,))])
    for layer in range(LAYERS):
        kernels = STARTS[start](seed=100 * seed + layer)
        model.add(keras.layers.Dense(WIDTH, activation, kernel_initializer=kernels))
    kernels = Xavier(seed=100 * seed + LAYERS)
    model.add(keras.layers.Dense(10, kernel_initializer=kernels))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {"jit_compile": False, "steps_per_execution": 20}
    model.compile(keras.optimizers.SGD(RATES[0]), loss, **options)
    return model


@functools.cache
def traced(activation):
    """The net that all starts share."""
    return build(activation, "Xavier", 0)


def accuracy(activation, start, rate, seed, train, test):
    """In %, after training."""
    new = build(activation, start, seed)
    if start == "LSUV":
        lsuv(new, train[0], seed=seed)
    model = renew(traced(activation), new)
    model.optimizer.learning_rate = rate
    in_one_go(model, *train, BATCH, EPOCHS, seed)
    guesses = model.predict(test[0], len(test[0]), verbose=0).argmax(1)
    return 100 * float(np.mean(guesses == test[1]))


def arm(activation, start, seed):
    """Accuracy in % on test digits."""
    x, y, *test = digits(seed, train=500)
    parts = (x[HELD:], y[HELD:]), (x[:HELD], y[:HELD])
    scores = [accuracy(activation, start, rate, seed, *parts) for rate in RATES]
    rate = RATES[int(np.argmax(scores))]
    return accuracy(activation, start, rate, seed, (x, y), test), {"rate": rate}


def name(activation, start):
    """Of an arm."""
    return f"{activation}: {start}"


def decide(arms):
    """The rule of the header."""
    signs, told = [], []
    for activation, formula in MADE_FOR.items():
        leads = {
            other: lead(arms, name(activation, "LSUV"), name(activation, other))
            for other in ([formula] if formula else ["Xavier", "Kaiming"])
        }
        signs.append(
            leads[formula][0] >= -1
            if formula
            else all(points > 0 and p < 0.05 for points, p in leads.values())
        )
        told += [
            f"{activation} {points:+.1f} over {other} (p = {p:.2f})"
            for other, (points, p) in leads.items()
        ]
    return by_signs(signs), f"LSUV, in points: {'; '.join(told)}."


def picture(result):
    """The starts side by side, by activation."""
    figure, [axes] = panels(1, width=7)
    table = {
        start: [result["arms"][name(each, start)]["values"] for each in MADE_FOR]
        for start in STARTS
    }
    groups(axes, list(MADE_FOR), table)
    axes.set_ylabel(f"{result['measure']}\n{len(result['seeds'])} seeds, mean ± sd")
    legend_below(figure, axes, columns=3)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(activation, start): functools.partial(arm, activation, start)
        for activation in MADE_FOR
        for start in STARTS
    },
    baseline=name("relu", "Kaiming"),
    measure="Test accuracy on digits (%)",
    decide=decide,
    seeds=tuple(range(10)),
    setting=f"{LAYERS} layers, {EPOCHS} passes, the best of four rates",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
