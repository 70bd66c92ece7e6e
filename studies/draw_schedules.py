"""Draws the learning-rate schedules of docs/schedules.md.

Command: python studies/draw_schedules.py
Writes:  docs/schedules.png
"""

import math
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

from hornbook.recipes.optimizers.one_cycle import OneCycle
from hornbook.recipes.optimizers.warm_up import WarmUp

OUT = Path(__file__).parents[1] / "docs/schedules.png"
STEPS, K = 1000, 0.004
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
keras_ones = keras.optimizers.schedules
PANELS = {
    "The notes' decays": {
        "PolynomialDecay: η0 - kt": keras_ones.PolynomialDecay(1.0, STEPS, 0.0),
        "ExponentialDecay: η0 exp(-kt)": keras_ones.ExponentialDecay(
            1.0, 1 / K, math.exp(-1)
        ),
        "InverseTimeDecay: η0 / (1 + kt)": keras_ones.InverseTimeDecay(1.0, 1, K),
    },
    "Other falls": {
        "CosineDecay": keras_ones.CosineDecay(1.0, STEPS),
        "CosineDecayRestarts": keras_ones.CosineDecayRestarts(
            1.0, 300, t_mul=1.0, m_mul=0.7
        ),
        "PiecewiseConstantDecay": keras_ones.PiecewiseConstantDecay(
            [400, 700], [1.0, 0.3, 0.1]
        ),
    },
    "Rises first": {
        "WarmUp(CosineDecay)": WarmUp(keras_ones.CosineDecay(1.0, 850), 150),
        "WarmUp(InverseTimeDecay)": WarmUp(keras_ones.InverseTimeDecay(1.0, 1, K), 150),
        "OneCycle": OneCycle(1.0, STEPS),
    },
}


def main():
    """Three panels side by side, each with a legend below."""
    figure = Figure((10, 4), layout="constrained")
    steps = np.arange(STEPS)
    for axes, (title, schedules) in zip(
        figure.subplots(1, 3, sharey=True), PANELS.items(), strict=True
    ):
        styles = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."))
        for (name, schedule), (colour, line) in zip(
            schedules.items(), styles, strict=True
        ):
            rates = [float(keras.ops.convert_to_numpy(schedule(t))) for t in steps]
            axes.plot(steps, rates, color=colour, linestyle=line, label=name)
        axes.set(title=title, xlabel="step", ylim=(0, 1.05))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    figure.axes[0].set_ylabel("rate, as a part of the highest")
    figure.savefig(OUT, dpi=110)
    print(f"drawn: {OUT.name}")


if __name__ == "__main__":
    main()
