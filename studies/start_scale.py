"""What zero, too small and too large weights at the start cost.

Claim:   weights that start at 0 or too near to it do not learn, for the gradients
         vanish; too large ones make training unstable.
Source:  He et al., "Delving Deep into Rectifiers", ICCV 2015, section 2.2; the study
         notes (docs/site/notes.toml), section "simple initializations".
Data:    scikit-learn's digits, 500 to train on; nets of ReLUs, 64 wide, with 1, 4 and 8
         hidden layers; kernels normal, of Kaiming's standard deviation times a factor;
         SGD, 10 epochs, each cell at the best of five rates by the accuracy on a fifth
         of the training part.
Rule:    at 8 hidden layers, factors 0, 0.1 and 10 each fall below factor 1 in test
         accuracy, p < 0.05. Holds, if all three do; partly, if some; not here, if none.
Change:  normalisation layers, Adam, shallow nets.
Command: python studies/start_scale.py
Writes:  docs/studies/start_scale.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs, lead
from mlp import MLP, digits, train
from optimizers import sgd
from pictures import COLOURS, band, legend_below, panels, plain_log

DEPTHS, FACTORS = (1, 4, 8), (0.0, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
RATES, EPOCHS, HELD = (1e-4, 1e-3, 1e-2, 1e-1, 1.0), 10, 100


def trained(depth, factor, rate, x, y, seed):
    """A net after its epochs."""
    rng = np.random.default_rng(seed)
    gain = factor * 2**0.5
    net = MLP((64, *[64] * depth, 10), "relu", rng, gain)
    train(net, x, y, sgd(), rate, EPOCHS, rng, batch=25)
    return net


def arm(depth, factor, seed):
    """Accuracy in % on test digits."""
    x, y, test_x, test_y = digits(seed, train=500)
    scores = [
        trained(depth, factor, rate, x[HELD:], y[HELD:], seed).accuracy(
            x[:HELD], y[:HELD]
        )
        for rate in RATES
    ]
    rate = RATES[int(np.argmax(scores))]
    net = trained(depth, factor, rate, x, y, seed)
    return net.accuracy(test_x, test_y), {"rate": rate}


def name(depth, factor):
    """Of an arm."""
    layers = "layer" if depth == 1 else "layers"
    return f"{depth} hidden {layers}, Kaiming times {factor:g}"


def decide(arms):
    """The rule of the header."""
    right = name(DEPTHS[-1], 1)
    signs, told = [], []
    for factor in (0, 0.1, 10):
        points, p = lead(arms, name(DEPTHS[-1], factor), right)
        signs.append(points < 0 and p < 0.05)
        told.append(f"{factor:g} gives {arms[name(DEPTHS[-1], factor)]['mean']:.0f} %")
    shallow = ", ".join(
        f"{arms[name(1, factor)]['mean']:.0f} %" for factor in (0, 0.1, 10)
    )
    return by_signs(signs), (
        f"With {DEPTHS[-1]} hidden layers factor 1 gives {arms[right]['mean']:.0f} %, "
        f"{', '.join(told)}; with one hidden layer these three give {shallow}."
    )


def picture(result):
    """Accuracy against the factor, a line for each depth."""
    figure, (axes,) = panels(1, width=7, height=4)
    places = [FACTORS[1] / 3, *FACTORS[1:]]  # zero has no place on a logarithmic axis
    for colour, depth in zip(COLOURS, DEPTHS, strict=False):
        curves = np.transpose(
            [result["arms"][name(depth, f)]["values"] for f in FACTORS]
        )
        label = f"{depth} hidden layer{'s' if depth > 1 else ''}"
        band(axes, places, curves, colour, label, marker="o")
    plain_log(axes.xaxis, places)
    axes.set_xticks(places, [f"{factor:g}" for factor in FACTORS])
    axes.set_xlabel("Standard deviation of the kernels (Kaiming's = 1)")
    axes.set_ylabel("Test accuracy (%)")
    axes.set_title(f"{len(result['seeds'])} seeds, mean ± sd, best rate", size=10)
    legend_below(figure, axes, columns=3)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(depth, factor): functools.partial(arm, depth, factor)
        for depth in DEPTHS
        for factor in FACTORS
    },
    baseline=name(DEPTHS[-1], 1),
    measure="Test accuracy on digits (%)",
    decide=decide,
    setting=f"500 digits to train on, SGD, {EPOCHS} epochs, the best of five rates",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
