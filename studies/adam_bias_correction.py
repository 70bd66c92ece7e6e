"""What Adam's bias correction is for: the size of the first steps.

Claim:   without the correction the first steps are too large, and training is unstable;
         the more so, the closer the decay of the second moment is to 1.
Source:  Kingma and Ba, ICLR 2015, section 6.4; the study notes (docs/site/notes.toml),
         section "Adam".
Data:    scikit-learn's digits, 1,000 to train on; 64-32-32-10, ReLU, 3 epochs in
         batches of 32; decays 0.99, 0.999 and 0.9999, rates 0.001, 0.003, 0.01, 0.03.
Rule:    eight signs. For each decay: without correction the largest step of a weight
         in the first 20 is at least 1.5 times that with it, in all seeds; the mean
         training loss over the four rates is higher without, p < 0.05. And from each
         decay to the next that excess grows. Holds, if all; partly, if some; not here,
         if none.
Change:  a warm-up, which keeps first steps small by itself.
Command: python studies/adam_bias_correction.py
Writes:  docs/studies/adam_bias_correction.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs, summarise
from mlp import MLP, digits, train
from optimizers import adam
from pictures import COLOURS, band, panels, plain_log

DECAYS, RATES, EPOCHS = (0.99, 0.999, 0.9999), (0.001, 0.003, 0.01, 0.03), 3
WITH, WITHOUT = "corrected", "not corrected"


def run(decay, correct, rate, seed):
    """Training loss, at most that of guessing; the largest steps, in rates."""
    x, y, *_ = digits(seed)
    rng = np.random.default_rng(seed)
    net = MLP((64, 32, 32, 10), "relu", rng)
    make, largest = adam(decay=decay, correct=correct), []

    def step(gradient):
        taken = make(gradient)
        largest.append(float(np.abs(taken).max()))
        return taken

    train(net, x, y, step, rate, EPOCHS, rng)
    return min(net.loss(x, y), float(np.log(10))), largest


def arm(decay, correct, seed):
    """The mean of the losses over all rates; each of them, and the first steps."""
    losses, steps = zip(*(run(decay, correct, r, seed) for r in RATES), strict=True)
    details = {
        "losses": [round(loss, 4) for loss in losses],
        "steps": [round(each, 3) for each in steps[0][:60]],
    }
    return float(np.mean(losses)), details


def name(decay, how):
    """Of an arm."""
    return f"decay {decay:g}, {how}"


def decide(arms):
    """The rule of the header."""
    signs, told, excess = [], [], []
    for decay in DECAYS:
        pair = [arms[name(decay, how)] for how in (WITHOUT, WITH)]
        without, with_ = (
            np.array([max(each["steps"][:20]) for each in row["details"]])
            for row in pair
        )
        signs.append(bool((without >= 1.5 * with_).all()))
        row = summarise(*(each["values"] for each in pair))
        excess.append(row.get("difference", 0.0))
        signs.append(excess[-1] > 0 and row["p"] < 0.05)
        told.append(
            f"at {decay:g} the first steps reach {without.mean():.1f} rates, not "
            f"{with_.mean():.1f}, and the loss changes by {excess[-1]:+.3f}"
        )
    signs += [excess[1] > excess[0], excess[2] > excess[1]]
    return by_signs(signs), f"Without correction, {'; '.join(told)}."


def picture(result):
    """First steps, and the loss by rate, a panel for each decay."""
    figure, grid = panels(3, rows=2, width=3.7, height=2.9)
    for column, decay in enumerate(DECAYS):
        for colour, how in zip(COLOURS, (WITH, WITHOUT), strict=False):
            details = result["arms"][name(decay, how)]["details"]
            steps = [each["steps"] for each in details]
            band(grid[column], range(1, 61), steps, colour, how, log=True)
            losses = [each["losses"] for each in details]
            band(grid[3 + column], RATES, losses, colour, how, log=True, marker="o")
        grid[column].set_title(f"Decay of the second moment {decay:g}", size=10)
        plain_log(grid[column].yaxis, (0.3, 1, 3, 10, 30))
        plain_log(grid[3 + column].xaxis, RATES)
        plain_log(grid[3 + column].yaxis, (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2))
        grid[column].set(xlabel="Step", ylim=(0.3, 40))
        grid[3 + column].set(xlabel="Learning rate", ylim=(0.02, 2.5))
    grid[0].set_ylabel("Largest step of a weight (rates)")
    grid[3].set_ylabel(f"Training loss, {EPOCHS} epochs (nats)")
    grid[0].legend(frameon=False, fontsize=9)
    figure.suptitle(f"{len(result['seeds'])} seeds, mean ± sd of logarithms", size=10)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(decay, how): functools.partial(arm, decay, how == WITH)
        for decay in DECAYS
        for how in (WITH, WITHOUT)
    },
    baseline=name(0.999, WITH),
    measure="Training loss on digits, mean over four rates (nats)",
    decide=decide,
    setting=f"64-32-32-10, {EPOCHS} epochs",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
