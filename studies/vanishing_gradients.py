"""How much of the gradient is left at the bottom of a deep net, by its nonlinearity.

Claim:   the gradients of sigmoid and tanh vanish with depth; those of ReLU do not.
Source:  Glorot and Bengio, AISTATS 2010; He et al., ICCV 2015; the study notes
         (docs/site/notes.toml), section "sigmoid, tanh".
Data:    scikit-learn's digits, 256 of them, through 20 hidden layers of 64 units that
         were just drawn. Each nonlinearity is drawn in two ways: at the gain that is
         usual for it (sigmoid and tanh 1, ReLU √2) and at one that suits it more, or
         less (sigmoid 4, which makes up for its slope at 0; tanh 5/3; ReLU 1).
Rule:    lost is what lies between the norms of the gradients by the last and the first
         hidden kernel, in decades. Three signs: sigmoid loses more than one at the
         better of its gains, so does tanh, and ReLU loses less than one at √2. Holds,
         if all; partly, if some; not here, if none.
Revised: the rule, after the numbers of a first run had been seen.
Change:  normalisation layers, skip connections, fewer layers.
Command: python studies/vanishing_gradients.py
Writes:  docs/studies/vanishing_gradients.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs
from mlp import MLP, digits
from pictures import COLOURS, band, panels

DEPTH, WIDTH = 20, 64
ARMS = {  # the nonlinearity, the gain
    "ReLU, gain √2": ("relu", 2**0.5),
    "ReLU, gain 1": ("relu", 1.0),
    "tanh, gain 1": ("tanh", 1.0),
    "tanh, gain 5/3": ("tanh", 5 / 3),
    "sigmoid, gain 1": ("sigmoid", 1.0),
    "sigmoid, gain 4": ("sigmoid", 4.0),
}
RELU = next(iter(ARMS))


def decades(activation, gain, seed):
    """Decades that the gradient loses on its way down; its norm by layer."""
    x, y, *_ = digits(seed)
    rng = np.random.default_rng(seed)
    net = MLP((64, *[WIDTH] * DEPTH, 10), activation, rng, gain)
    _, gradient = net.gradient(x[:256], y[:256])
    norms = [float(np.linalg.norm(each)) for each in net.views(gradient)[0][:-1]]
    # The first kernel has as many inputs as the others, so the norms can be compared.
    return np.log10(norms[-1] / norms[0]), {"norms": norms}


def decide(arms):
    """The rule of the header."""
    lost = {arm: row["mean"] for arm, row in arms.items()}
    best = {
        name: min(value for arm, value in lost.items() if arm.startswith(name))
        for name in ("sigmoid", "tanh")
    }
    signs = best["sigmoid"] > 1, best["tanh"] > 1, abs(lost[RELU]) < 1
    return by_signs(signs), (
        f"Over {DEPTH} layers ReLU loses {lost[RELU]:.1f} decades of gradient at gain "
        f"√2. Sigmoid loses {lost['sigmoid, gain 1']:.1f} at gain 1 and "
        f"{lost['sigmoid, gain 4']:.1f} at 4; tanh {lost['tanh, gain 1']:.1f} at 1 and "
        f"{lost['tanh, gain 5/3']:.1f} at 5/3."
    )


def picture(result):
    """The gradient's norm by layer."""
    figure, (axes,) = panels(1, width=7.2, height=4.2)
    for place, (arm, row) in enumerate(result["arms"].items()):
        norms = [each["norms"] for each in row["details"]]
        style = {"ls": "--" if place % 2 else "-", "lw": 2}
        colour = COLOURS[place // 2]
        band(axes, range(1, DEPTH + 1), norms, colour, arm, log=True, **style)
    axes.set_yscale("log")
    axes.set_xlabel("Hidden layer (1 is next to the inputs)")
    axes.set_ylabel("Norm of the loss's gradient by the kernel")
    axes.set_xticks(range(2, DEPTH + 1, 2))
    axes.legend(frameon=False, fontsize=9)
    axes.set_title(f"{len(result['seeds'])} seeds, mean ± sd", size=10)
    return figure


STUDY = Study(
    file=__file__,
    arms={name: functools.partial(decades, *how) for name, how in ARMS.items()},
    baseline=RELU,
    measure="Gradient lost over 20 layers (decades)",
    decide=decide,
    seeds=tuple(range(10)),
    setting=f"{DEPTH} hidden layers of {WIDTH} units, before any training",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
