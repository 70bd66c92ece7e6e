"""What stopping at the lowest validation loss gains over training to the end.

Claim:   past a critical point the test loss rises while the training loss falls; to
         stop there spares the net from overfitting.
Source:  Prechelt, "Early stopping - but when?", 1998; the study notes
         (docs/site/notes.toml), section "solving overfitting".
Data:    scikit-learn's digits, 200 to train on, 100 to watch, 500 to test; 64-128-10,
         ReLU, Adam at 3e-3, 100 epochs in batches of 20, with right labels and with
         30 % of both the training and the watched ones shuffled. Early: the weights of
         the lowest watched loss once 10 epochs brought no lower one.
Rule:    four signs: early stopping has the lower test loss and the higher test accuracy
         than the last epoch, with right and with shuffled labels, p < 0.05 each. Holds,
         if all; partly, if some; not here, if none.
Change:  a decaying rate or weight decay, which leave less to overfit at the end.
Command: python studies/early_stopping.py
Writes:  docs/studies/early_stopping.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs, lead, summarise
from mlp import MLP, digits, train
from optimizers import adam
from pictures import COLOURS, band, panels

EPOCHS, PATIENCE, COUNT, WATCHED = 100, 10, 200, 100
NOISES = {"right labels": 0.0, "30 % shuffled": 0.3}
EARLY, LAST, BEST = "stopped early", "the last epoch", "the best epoch of the test set"


@functools.cache
def curves(noise, seed):
    """By epoch: training, watched and test loss, and test accuracy."""
    x, y, test_x, test_y = digits(seed, train=COUNT + WATCHED)
    rng = np.random.default_rng(seed)
    y = y.copy()
    some = rng.permutation(len(y))[: round(noise * len(y))]
    y[some] = y[rng.permutation(some)]
    net, rows = MLP((64, 128, 10), "relu", rng), []

    def seen():
        parts = (x[:COUNT], y[:COUNT]), (x[COUNT:], y[COUNT:]), (test_x, test_y)
        row = [net.loss(*part) for part in parts]
        rows.append([*row, net.accuracy(test_x, test_y)])

    args = x[:COUNT], y[:COUNT], adam(), 3e-3, EPOCHS, rng
    train(net, *args, batch=20, seen=seen)
    return np.transpose(rows)


def stop(watched):
    """The epoch whose weights early stopping keeps."""
    best = 0
    for epoch, loss in enumerate(watched):
        if loss < watched[best]:
            best = epoch
        elif epoch - best >= PATIENCE:
            break
    return best


def arm(noise, how, seed):
    """Test accuracy in %; the test loss, and the epoch."""
    _, watched, loss, accuracy = curves(noise, seed)
    epochs = {EARLY: stop(watched), LAST: EPOCHS - 1, BEST: int(accuracy.argmax())}
    epoch = epochs[how]
    return accuracy[epoch], {"loss": round(loss[epoch], 4), "epoch": epoch + 1}


def name(what, how):
    """Of an arm."""
    return f"{what}: {how}"


def decide(arms):
    """The rule of the header."""
    signs, told = [], []
    for what in NOISES:
        early, last = (name(what, how) for how in (EARLY, LAST))
        points, p = lead(arms, early, last)
        losses = [[e["loss"] for e in arms[each]["details"]] for each in (early, last)]
        row = summarise(*losses)
        signs += [points > 0 and p < 0.05, row["difference"] < 0 and row["p"] < 0.05]
        epoch = np.mean([each["epoch"] for each in arms[early]["details"]])
        told.append(
            f"with {what} it stops after {epoch:.0f} of {EPOCHS} epochs, accuracy "
            f"changes by {points:+.1f} points (p = {p:.2g}) and the test loss from "
            f"{np.mean(losses[1]):.2f} to {np.mean(losses[0]):.2f}"
        )
    return by_signs(signs), f"Early stopping: {'; '.join(told)}."


def picture(result):
    """Learning curves, and where they were stopped."""
    figure, grid = panels(2, rows=2, width=4.8, height=2.9, sharex=True)
    epochs = range(1, EPOCHS + 1)
    for column, (what, noise) in enumerate(NOISES.items()):
        found = np.array([curves(noise, seed) for seed in result["seeds"]])
        for i, label in enumerate(("training", "watched", "test")):
            band(grid[column], epochs, found[:, i], COLOURS[i], label)
        band(grid[2 + column], epochs, found[:, 3], COLOURS[2], "test")
        details = result["arms"][name(what, EARLY)]["details"]
        for axes in (grid[column], grid[2 + column]):
            for i, each in enumerate(details):
                label = None if i else "stopped, by seed"
                axes.axvline(
                    each["epoch"], color="black", lw=0.8, alpha=0.5, label=label
                )
        grid[column].set_title(f"{what}, {len(details)} seeds, mean ± sd", size=10)
        grid[column].set_ylabel("Loss (nats)")
        grid[2 + column].set(xlabel="Epoch", ylabel="Test accuracy (%)")
    grid[0].legend(frameon=False, fontsize=9)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(what, how): functools.partial(arm, noise, how)
        for what, noise in NOISES.items()
        for how in (LAST, EARLY, BEST)
    },
    baseline=name("right labels", LAST),
    measure="Test accuracy on digits (%)",
    decide=decide,
    seeds=tuple(range(10)),
    setting=f"{COUNT} digits to train on, Adam, {EPOCHS} epochs",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
