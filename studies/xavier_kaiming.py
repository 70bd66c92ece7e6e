"""What Xavier's and Kaiming's starts make of activations and gradients, by layer.

Claim:   drawn alike in all layers, the spread of activations falls going up and that of
         the gradients going down; Xavier's start keeps both, and Kaiming's keeps them
         with ReLU. The notes give Kaiming's variance as 1/n.
Source:  Glorot and Bengio, AISTATS 2010, figures 6 and 7; He et al., ICCV 2015, section
         2.2; the study notes (docs/site/notes.toml), sections "Xavier" and "Kaiming".
Data:    scikit-learn's digits, 256 of them, before any training. Tanh: five hidden
         layers of 500 units, as the paper's (its "standard" start draws uniformly
         within ±1/√n). ReLU: 30 hidden layers of 256. Kernels are drawn by our recipes.
Rule:    three signs. (1) From the first to the last hidden layer of tanh, the standard
         start at least halves the standard deviation of the activations and, going
         down, that of the back-propagated gradients; Xavier's keeps both within a
         factor of 2. (2) Kaiming's keeps the mean square after 30 ReLU layers within a
         factor of 4 on average over seeds (2 powers of 2). (3) The notes' 1/n loses 27
         to 33 powers of 2. Holds, if all; partly, if some; not here, if none.
Change:  narrow layers, where a draw strays far; normalisation layers.
Command: python studies/xavier_kaiming.py
Writes:  docs/studies/xavier_kaiming.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs
from keras.initializers import VarianceScaling
from mlp import MLP, digits
from pictures import COLOURS, band, panels

from hornbook.recipes.initializers.kaiming import Kaiming
from hornbook.recipes.initializers.xavier import Xavier

STANDARD, XAVIER = "tanh, 5 layers: ±1/√n", "tanh, 5 layers: Xavier"
NOTES, XAVIER_RELU = "ReLU, 30 layers: 1/n (the notes)", "ReLU, 30 layers: Xavier"
KAIMING = "ReLU, 30 layers: Kaiming"
MAKERS = {
    STANDARD: lambda seed: VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed),
    XAVIER: lambda seed: Xavier(distribution="uniform", seed=seed),
    NOTES: lambda seed: Kaiming(nonlinearity="linear", seed=seed),
    XAVIER_RELU: lambda seed: Xavier(seed=seed),
    KAIMING: lambda seed: Kaiming(seed=seed),
}


def look(arm, seed):
    """All activations after each hidden layer, and all gradients before it."""
    tanh = arm.startswith("tanh")
    sizes = (64, *([500] * 5 if tanh else [256] * 30), 10)
    net = MLP(sizes, "tanh" if tanh else "relu")
    for layer, kernel in enumerate(net.kernels):
        kernel[:] = np.asarray(MAKERS[arm](100 * seed + layer)(kernel.shape))
    x, y, *_ = digits(seed)
    net.gradient(x[:256], y[:256])
    _, o = net.forward(x[:256])
    return o[1:], net.deltas[:-1]


def arm(kind, seed):
    """Powers of 2 in the mean square of the activations, from first layer to last."""
    activations, gradients = look(kind, seed)
    squares = [float(np.mean(each**2)) for each in activations]
    spreads = [float(np.std(each)) for each in gradients]
    kept = np.log2(squares[-1] / squares[0])
    return kept, {"squares": squares, "gradients": spreads}


def ratio(arms, kind, of):
    """Of the last layer's to the first one's, the geometric mean over seeds."""
    ends = [np.log(row[of][-1] / row[of][0]) for row in arms[kind]["details"]]
    return float(np.exp(np.mean(ends)))


def decide(arms):
    """The rule of the header."""
    up = {kind: ratio(arms, kind, "squares") ** 0.5 for kind in (STANDARD, XAVIER)}
    down = {kind: 1 / ratio(arms, kind, "gradients") for kind in (STANDARD, XAVIER)}
    fades = up[STANDARD] < 0.5 and down[STANDARD] < 0.5
    keeps = all(0.5 < each[XAVIER] < 2 for each in (up, down))
    kaiming, notes = arms[KAIMING]["mean"], arms[NOTES]["mean"]
    signs = fades and keeps, abs(kaiming) < 2, -33 < notes < -27
    return by_signs(signs), (
        f"Through five tanh layers the standard start keeps {up[STANDARD]:.2f} of the "
        f"activations' spread and {down[STANDARD]:.2f} of the gradients', Xavier's "
        f"{up[XAVIER]:.2f} and {down[XAVIER]:.2f}. Through 30 ReLU layers the mean "
        f"square changes by 2 to the {kaiming:+.1f} with Kaiming's and to the "
        f"{notes:+.1f} with the notes' 1/n."
    )


def picture(result):
    """Distributions by layer as in Glorot and Bengio; below, the mean square."""
    figure, grid = panels(2, rows=3, width=4.6, height=2.5)
    shades = np.linspace(0.25, 1, 5)
    for column, kind in enumerate((STANDARD, XAVIER)):
        activations, gradients = look(kind, 0)
        gradients = [1e4 * each for each in gradients]
        for row, (layers, edge) in enumerate(((activations, 1), (gradients, 6))):
            axes = grid[2 * row + column]
            axes.set_xticks(np.linspace(-edge, edge, 5))
            for number, values in enumerate(layers):
                heights, edges = np.histogram(values, np.linspace(-edge, edge, 61))
                share = 100 * heights / values.size
                middle = (edges[1:] + edges[:-1]) / 2
                style = {"color": COLOURS[column], "alpha": shades[number], "lw": 1.6}
                axes.plot(middle, share, label=f"layer {number + 1}", **style)
            axes.set_ylabel("Share (% a bin)")
            axes.set_title(("Activations", "Gradients")[row] + ", " + kind, size=9)
            axes.legend(frameon=False, fontsize=7)
        grid[column].set_xlabel("Activation")
        grid[2 + column].set_xlabel("Back-propagated gradient (10⁻⁴)")
    for axes, of, label in (
        (grid[4], "squares", "Mean square of activations"),
        (grid[5], "gradients", "Sd of back-propagated gradients"),
    ):
        for colour, kind in zip(
            COLOURS[2:], (NOTES, XAVIER_RELU, KAIMING), strict=False
        ):
            curves = [each[of] for each in result["arms"][kind]["details"]]
            style = {"lw": 2, "ls": "--" if kind == XAVIER_RELU else "-"}
            band(axes, range(1, 31), curves, colour, kind, log=True, **style)
        axes.set_yscale("log")
        axes.set_xlabel("Hidden layer")
        axes.set_ylabel(label, fontsize=9)
    grid[4].legend(frameon=False, fontsize=7)
    grid[5].set_title(f"ReLU: {len(result['seeds'])} seeds, mean ± sd", size=9)
    return figure


STUDY = Study(
    file=__file__,
    arms={kind: functools.partial(arm, kind) for kind in MAKERS},
    baseline=KAIMING,
    measure="Change of the mean square from first layer to last (powers of 2)",
    decide=decide,
    seeds=tuple(range(10)),
    setting="256 digits, before any training",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
