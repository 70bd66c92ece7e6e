"""How far L-BFGS and Adam bring a small net's training loss, at equal work.

Claim:   L-BFGS suits full-batch training, and seldom anything else.
Source:  Liu and Nocedal, "On the limited memory BFGS method for large scale
         optimization", Mathematical Programming 45, 1989; Le et al., "On optimization
         methods for deep learning", ICML 2011; the study notes (docs/site/notes.toml),
         sections "second-order optimizers" and "practice".
Data:    scikit-learn's digits, 1,297 to train on, 500 to test; all in one batch.
Model:   64-32-10, ReLU, cross-entropy and an L2 penalty of 1e-4 on the kernels.
Work:    evaluations of the loss's gradient over the whole set; those of L-BFGS's line
         search count. Adam's rate is constant, and chosen for each amount of work by
         the training loss of other seeds.
Rule:    holds, if at every amount of work L-BFGS has the lower training loss in each of
         the seeds. The test accuracy is shown beside it, and decides nothing.
Change:  a set too large for one batch, where Adam has made many steps before L-BFGS has
         made one.
Command: python studies/lbfgs.py
Writes:  docs/studies/lbfgs.json and .png
"""

import keras
import numpy as np
from harness import provenance, publish, summarise
from pictures import COLOURS, band, panels, plain_log
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from hornbook.recipes.optimizers.fit_lbfgs import fit_lbfgs

SEEDS, TUNING_SEEDS = range(5), range(100, 103)
EVALUATIONS = (25, 50, 100, 200, 400)
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
L2 = 1e-4
ARMS = ("lbfgs", "adam")


def digits():
    """Training and test images in [0, 1], and their labels."""
    x, y = load_digits(return_X_y=True)
    return train_test_split(
        (x / 16).astype("float32"), y, test_size=500, stratify=y, random_state=0
    )


def make_model(seed, optimizer="sgd"):
    """The net of the study, compiled."""
    keras.utils.set_random_seed(seed)
    kernel = {"kernel_regularizer": keras.regularizers.L2(L2)}
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(32, activation="relu", **kernel),
            keras.layers.Dense(10, **kernel),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def adam(seed, rate):
    """Loss and test accuracy in % after each amount of work."""
    x, test_x, y, test_y = digits()
    model = make_model(seed, keras.optimizers.Adam(rate))
    losses, accuracies = [], []
    for step in range(1, EVALUATIONS[-1] + 1):
        model.train_on_batch(x, y)
        if step in EVALUATIONS:
            losses.append(model.evaluate(x, y, len(x), verbose=0)[0])
            accuracies.append(100 * model.evaluate(test_x, test_y, 500, verbose=0)[1])
    print(f"Adam at {rate:g}, seed {seed}: {losses}", flush=True)
    return losses, accuracies


def lbfgs(seed):
    """The same, of the last point that L-BFGS came to within each amount of work."""
    x, test_x, y, test_y = digits()
    history = fit_lbfgs(
        make_model(seed),
        x,
        y,
        max_iter=EVALUATIONS[-1],
        chunk_size=len(x),
        validation_data=(test_x, test_y),
        ftol=0,
        gtol=0,
        verbose=0,
    )
    print(f"L-BFGS, seed {seed}: {history.stop_reason}", flush=True)
    seen = history.history
    places = np.searchsorted(seen["evaluations"], EVALUATIONS, side="right") - 1
    return (
        [seen["loss"][place] for place in places],
        [100 * seen["val_accuracy"][place] for place in places],
    )


def table(result):
    """The result in Markdown."""
    lines = [
        "| gradient evaluations | L-BFGS, training loss | Adam, training loss "
        "| Adam's rate | L-BFGS, test accuracy | Adam, test accuracy |",
        "|---" * 6 + "|",
    ]
    for row in result["rows"]:
        cells = [f"{row[name]['mean']:.4f} ± {row[name]['sd']:.4f}" for name in ARMS]
        cells.append(f"{row['adam_rate']:g}")
        cells += [
            "{mean:.1f} ± {sd:.1f} %".format(**row[f"{name}_accuracy"]) for name in ARMS
        ]
        lines.append(f"| {row['evaluations']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(result):
    """Loss and accuracy by work, of both."""
    figure, (left, right) = panels(2)
    for arm, label, colour in zip(
        ARMS, ("L-BFGS", "Adam, the best rate for the work"), COLOURS, strict=False
    ):
        for axes, key in ((left, arm), (right, f"{arm}_accuracy")):
            by_work = [row[key]["values"] for row in result["rows"]]
            curves = np.transpose(by_work)
            band(axes, EVALUATIONS, curves, colour, label, axes is left, marker="o")
    plain_log(left.yaxis, (0.03, 0.05, 0.1, 0.2))
    for axes, label in ((left, "Training loss"), (right, "Test accuracy (%)")):
        plain_log(axes.xaxis, EVALUATIONS)
        axes.set(xlabel="Gradient evaluations, 5 seeds", ylabel=f"{label}: mean ± sd")
    left.legend(frameon=False)
    return figure


def main():
    """Chooses the rates, runs both, prints a table and writes."""
    tuning = np.array(
        [[adam(seed, rate)[0] for seed in TUNING_SEEDS] for rate in RATES]
    )
    means = np.nan_to_num(tuning, nan=np.inf).mean(axis=1)
    rates = [RATES[place] for place in means.argmin(axis=0)]
    print("rates of Adam:", dict(zip(EVALUATIONS, rates, strict=True)), flush=True)

    runs = {
        "adam": {
            rate: np.array([adam(seed, rate) for seed in SEEDS]) for rate in set(rates)
        },
        "lbfgs": np.array([lbfgs(seed) for seed in SEEDS]),
    }
    rows = []
    for place, (evaluations, rate) in enumerate(zip(EVALUATIONS, rates, strict=True)):
        both = {"lbfgs": runs["lbfgs"], "adam": runs["adam"][rate]}
        row = {"evaluations": evaluations, "adam_rate": rate}
        for name in ARMS:
            losses, accuracies = both[name][:, :, place].T
            row[name] = summarise(losses, both["adam"][:, 0, place])
            row[f"{name}_accuracy"] = summarise(accuracies, both["adam"][:, 1, place])
        lower = both["lbfgs"][:, 0, place] < both["adam"][:, 0, place]
        row["seeds_lower"] = int(lower.sum())
        rows.append(row)
    wins = [row["seeds_lower"] for row in rows]
    all_lower, any_lower = min(wins) == len(SEEDS), max(wins) > len(SEEDS) / 2
    result = {
        "study": "lbfgs",
        "command": "python studies/lbfgs.py",
        "seeds": list(SEEDS),
        "tuning_seeds": list(TUNING_SEEDS),
        "rates": list(RATES),
        "tuning_losses": means.round(4).tolist(),
        "rows": rows,
        "verdict": "holds" if all_lower else "partly" if any_lower else "not here",
        "because": "L-BFGS has the lower loss in "
        + ", ".join(
            f"{row['seeds_lower']} of {len(SEEDS)} seeds after {row['evaluations']}"
            for row in rows
        )
        + " evaluations.",
        **provenance(),
    }
    print(table(result))
    print(f"{result['verdict']}: {result['because']}")
    publish(result, picture(result), "lbfgs")


if __name__ == "__main__":
    main()
