"""What the wrong scale of dropout costs at test time.

Claim:   after dropout in training, the outputs must be scaled at test time. The notes
         scale by the drop probability; right is the probability to keep.
Source:  Srivastava et al., JMLR 2014; the study notes (docs/site/notes.toml), section
         "dropout".
Data:    scikit-learn's digits, 400 to train on; 64-128-128-10, ReLU, Adam at 1e-3, 40
         epochs, dropout without scaling on both hidden layers at 0.2, 0.5 and 0.8.
Rule:    holds, if at both 0.2 and 0.8 the note's scale has the lower test accuracy and
         the higher test loss than the right one; partly, if any of these four; each
         with p < 0.05. (At 0.5 they are the same.)
Change:  nets without biases, where ReLU passes a scale on and no class changes.
Command: python studies/dropout_scale.py
Writes:  docs/studies/dropout_scale.json and .png
"""

import functools

import numpy as np
from harness import Study, by_signs, lead, summarise
from mlp import MLP, digits, train
from optimizers import adam
from pictures import groups, legend_below, panels, plain_log
from scipy.special import log_softmax, logsumexp

DROPS, SIZES, EPOCHS, SAMPLES = (0.2, 0.5, 0.8), (64, 128, 128, 10), 40, 50
SCALES = {
    "scaled by the probability to keep": lambda drop: 1 - drop,
    "scaled by the drop probability (the notes)": lambda drop: drop,
    "not scaled": lambda drop: 1.0,
    f"the mean of {SAMPLES} random nets": None,
}
RIGHT, NOTES, *_ = SCALES


def random_masks(drop, rng, count):
    """Masks of 0 and 1, for each hidden layer."""
    return [(rng.random((count, n)) >= drop).astype(float) for n in SIZES[1:-1]]


@functools.cache
def trained(drop, seed):
    """A net trained with dropout."""
    x, y, *_ = digits(seed, train=400)
    rng = np.random.default_rng(seed)
    net = MLP(SIZES, "relu", rng)
    masks = lambda rng, count: random_masks(drop, rng, count)  # noqa: E731
    train(net, x, y, adam(), 1e-3, EPOCHS, rng, masks=masks)
    return net


def arm(drop, scale, seed):
    """Accuracy in % on test digits; the loss."""
    *_, x, y = digits(seed, train=400)
    net, rng = trained(drop, seed), np.random.default_rng(seed)
    draws = (
        [[np.full((1, n), scale(drop)) for n in SIZES[1:-1]]]
        if scale
        else [random_masks(drop, rng, len(x)) for _ in range(SAMPLES)]
    )
    logs = [log_softmax(net.forward(x, masks)[0][-1], axis=1) for masks in draws]
    mean = logsumexp(logs, axis=0) - np.log(len(logs))
    loss = -mean[np.arange(len(x)), y].mean()
    accuracy = 100 * np.mean(mean.argmax(axis=1) == y)
    return accuracy, {"loss": round(float(loss), 4)}


def name(drop, scale):
    """Of an arm."""
    return f"drop {drop}: {scale}"


def losses(arms, arm):
    """Of an arm, by seed."""
    return [each["loss"] for each in arms[arm]["details"]]


def decide(arms):
    """The rule of the header."""
    signs, told = [], []
    for drop in (DROPS[0], DROPS[-1]):
        right, note = name(drop, RIGHT), name(drop, NOTES)
        points, p = lead(arms, note, right)
        row = summarise(losses(arms, note), losses(arms, right))
        rise = row.get("difference", 0)
        signs += [points < 0 and p < 0.05, rise > 0 and row["p"] < 0.05]
        told.append(
            f"At drop {drop} the note's scale changes accuracy by {points:+.1f} points "
            f"and multiplies the loss by {row['mean'] / (row['mean'] - rise):.1f}."
        )
    return by_signs(signs), " ".join(told)


def picture(result):
    """Accuracy and loss, by drop probability and scale."""
    figure, (left, right) = panels(2, width=4.8, height=4.2)
    arms = result["arms"]
    accuracies = lambda arms, arm: arms[arm]["values"]  # noqa: E731
    for axes, of in ((left, accuracies), (right, losses)):
        table = {
            scale: [of(arms, name(drop, scale)) for drop in DROPS] for scale in SCALES
        }
        groups(axes, DROPS, table)
        axes.set_xlabel("Drop probability")
    left.set_ylabel("Test accuracy (%)")
    right.set_ylabel("Test cross-entropy (nats)")
    plain_log(right.yaxis, (0.1, 0.2, 0.5, 1, 2))
    figure.suptitle(f"{len(result['seeds'])} seeds, mean ± sd", size=10)
    legend_below(figure, left)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(drop, scale): functools.partial(arm, drop, how)
        for drop in DROPS
        for scale, how in SCALES.items()
    },
    baseline=name(0.5, RIGHT),
    measure="Test accuracy on digits (%)",
    decide=decide,
    seeds=tuple(range(10)),
    setting="400 digits to train on, two hidden layers of 128, 40 epochs",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
