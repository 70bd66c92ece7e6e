"""Measures what reweighting brings when the test set is drawn otherwise.

Claim:   weights by p_test / p_train correct covariate and label shift.
Source:  Byrd and Lipton, "What is the Effect of Importance Weighting in Deep
         Learning?", ICML 2019: not for models that fit every training example; the
         study notes (docs/site/notes.toml), section "distribution shift".
Data:    scikit-learn's digits, 898 to draw 350 training and 899 to draw 350 test
         examples from. Covariate shift: an example is kept for training with the
         probability sigmoid(-2s), for the test with sigmoid(2s), where s is the first
         principal component in standard deviations: the ratio is exp(2s). Label
         shift: one of class k is kept with 0.85^k, for the test with 0.85^(9-k).
Arms:    plain; weighted by the recipes, which see the test's inputs; an oracle weighted
         by the truth. A linear softmax on 6 principal components cannot be right
         everywhere; a net of 64 units on all pixels fits every training example. Both
         are trained alike for all arms, without any tuning, 400 full-batch steps of
         Adam at 0.02.
Rule:    four signs: the recipe's weights (of a label shift, those from the confusion
         matrix) beat plain training, p < 0.05, for each shift and model. Holds, if all;
         partly, if some; not here, if none.
Change:  a milder shift; a training set so large that few examples count enough.
Command: python studies/shift.py
Writes:  docs/studies/shift.json and .png
"""

import warnings

import keras
import numpy as np
from harness import by_signs, provenance, publish
from matplotlib.figure import Figure
from scipy.special import expit
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from hornbook.recipes.data import covariate_shift_weights, label_shift_weights
from hornbook.stats import paired_t_test

SEEDS = range(10)
DRAWN, CLIP = 350, 10.0
STEPS, AT_ONCE, RATE = 400, 50, 0.02
MODELS = {"linear, 6 components": (6, ()), "64 units, all pixels": (64, (64,))}
SHIFTS = ("covariate", "label")


class Trainer:
    """A model that is compiled once and trained anew for each arm."""

    def __init__(self, inputs, hidden):
        self.inputs = inputs
        layers = [keras.layers.Dense(units, activation="relu") for units in hidden]
        self.model = keras.Sequential(
            [keras.Input((inputs,)), *layers, keras.layers.Dense(10)]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        adam = keras.optimizers.Adam(RATE)
        self.model.compile(adam, loss, steps_per_execution=AT_ONCE)
        self.model.optimizer.build(self.model.trainable_variables)
        self.fresh = [v.numpy() for v in self.model.optimizer.variables]

    def accuracy(self, train, y, weights, test, truth, seed):
        """Trains from the seed's weights; the accuracy on the test in %."""
        rng = np.random.default_rng(seed)
        for v in self.model.trainable_variables:
            bound = np.sqrt(6 / sum(v.shape)) if len(v.shape) == 2 else 0
            v.assign(rng.uniform(-bound, bound, v.shape))
        for v, value in zip(self.model.optimizer.variables, self.fresh, strict=True):
            v.assign(value)
        # Each batch is the whole set; copies of it make one call of many steps.
        copies = [np.concatenate([a] * AT_ONCE) for a in (train, y, weights)]
        self.model.fit(
            copies[0][:, : self.inputs],
            copies[1],
            sample_weight=copies[2].astype("float32"),
            batch_size=len(y),
            epochs=STEPS // AT_ONCE,
            shuffle=False,
            verbose=0,
        )
        guesses = self.model.predict_on_batch(test[:, : self.inputs]).argmax(axis=1)
        return 100 * float(np.mean(guesses == truth))


def digits():
    """Principal components in standard deviations of the first, and the labels."""
    x, y = load_digits(return_X_y=True)
    x = PCA(64).fit_transform(x)
    return (x / x[:, 0].std()).astype("float32"), y


def draw(shift, seed):
    """Training and test examples, and the true ratio for each training example."""
    x, y = digits()
    if shift == "covariate":
        keep = expit(-2 * x[:, 0]), expit(2 * x[:, 0])
    else:
        keep = 0.85**y, 0.85 ** (9 - y)
    rng = np.random.default_rng(seed)
    halves = np.split(rng.permutation(len(y)), [len(y) // 2])
    train, test = (
        half[rng.uniform(size=len(half)) < kept[half]][:DRAWN]
        for half, kept in zip(halves, keep, strict=True)
    )
    assert len(train) == len(test) == DRAWN
    ratio = (keep[1] / keep[0])[train]
    return (x[train], y[train]), (x[test], y[test]), ratio


def weigh(shift, train, y, test, ratio):
    """The weights of each arm, and how ours correlate with the oracle's."""
    oracle = np.minimum(ratio / ratio.mean(), CLIP)
    plain = np.ones(len(y))
    if shift == "covariate":
        found = covariate_shift_weights(train, test, clip=CLIP)
        arms = {"plain": plain, "weighted": found.sample_weight, "oracle": oracle}
        return arms, np.corrcoef(found.sample_weight, oracle)[0, 1]
    probe = LogisticRegression(C=10.0, max_iter=1000)
    held_out = cross_val_predict(probe, train, y, cv=5, method="predict_proba")
    guesses = probe.fit(train, y).predict_proba(test)
    confusion = label_shift_weights(y, guesses, (y, held_out))
    em = label_shift_weights(y, guesses, method="em")
    arms = {
        "plain": plain,
        "weighted, confusion": confusion.sample_weight,
        "weighted, em": em.sample_weight,
        "oracle": oracle,
    }
    return arms, np.corrcoef(confusion.sample_weight, oracle)[0, 1]


def effective(weights):
    """How many examples of equal weight these are worth."""
    return float(weights.sum() ** 2 / np.sum(weights**2))


def run(shift):
    """All seeds of one shift: accuracies by model and arm, and the weights' figures."""
    trainers = {name: Trainer(*shape) for name, shape in MODELS.items()}
    accuracies, sizes, correlations = {}, {}, []
    for seed in SEEDS:
        (train, y), (test, truth), ratio = draw(shift, seed)
        arms, correlation = weigh(shift, train, y, test, ratio)
        correlations.append(correlation)
        for arm, weights in arms.items():
            sizes.setdefault(arm, []).append(effective(weights))
            for name, trainer in trainers.items():
                score = trainer.accuracy(train, y, weights, test, truth, seed)
                accuracies.setdefault(name, {}).setdefault(arm, []).append(score)
        print(
            shift,
            seed,
            {m: {a: v[-1] for a, v in r.items()} for m, r in accuracies.items()},
            flush=True,
        )
    return {
        "shift": shift,
        "weights_correlation_with_oracle": summary(correlations),
        "effective_size": {arm: summary(values) for arm, values in sizes.items()},
        "models": {
            name: {arm: paired(values, arms["plain"]) for arm, values in arms.items()}
            for name, arms in accuracies.items()
        },
    }


def summary(values):
    """Mean and standard deviation."""
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1))}


def paired(values, plain):
    """The accuracies of an arm, and its lead over plain training seed by seed."""
    leads = np.subtract(values, plain)
    row = {"accuracies": values, **summary(values)}
    if leads.any():
        row["lead"] = summary(leads)
        row["ahead"] = int(np.sum(leads > 0))
        row["p"] = paired_t_test(values, plain).p
    return row


def decide(tasks):
    """The rule of the header."""
    signs, told = [], []
    for task in tasks:
        for model, arms in task["models"].items():
            arm = "weighted" if task["shift"] == "covariate" else "weighted, confusion"
            lead, p = arms[arm].get("lead", {"mean": 0})["mean"], arms[arm].get("p", 1)
            signs.append(lead > 0 and p < 0.05)
            told.append(f"{task['shift']}, {model}: {lead:+.1f} (p = {p:.2g})")
    return by_signs(signs), f"In points over plain training: {'; '.join(told)}."


def draw_picture(tasks):
    """Leads over plain training, a row of dots for each arm and model."""
    colours = dict(zip(MODELS, ("#0072b2", "#d55e00"), strict=True))
    figure = Figure((8.4, 4.2), layout="constrained")
    grid = figure.subplots(1, len(tasks), sharex=True)
    for axes, task in zip(grid, tasks, strict=True):
        for i, (name, arms) in enumerate(task["models"].items()):
            plain = np.array(arms["plain"]["accuracies"])
            others = {arm: row for arm, row in arms.items() if arm != "plain"}
            for j, row in enumerate(others.values()):
                leads = np.array(row["accuracies"]) - plain
                height = j + 0.3 * i - 0.15
                axes.scatter(
                    leads, np.full(len(leads), height), 22, colours[name], alpha=0.4
                )
                axes.errorbar(
                    leads.mean(),
                    height,
                    xerr=leads.std(ddof=1),
                    fmt="D",
                    color=colours[name],
                    capsize=4,
                    label=name if j == 0 else None,
                )
        axes.axvline(0, color="#595959", lw=1)
        axes.set_yticks(range(len(others)), list(others))
        axes.set_ylim(len(others) - 0.5, -0.5)
        axes.set_title(f"{task['shift'].title()} shift", size=11)
        axes.set_xlabel("Accuracy above plain training (points)")
        axes.grid(axis="x", color="#dddddd", lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
    handles, labels = grid[0].get_legend_handles_labels()
    labels = [f"{label}: mean ± sd" for label in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def main():
    """Runs both shifts, then writes the table and the picture."""
    warnings.filterwarnings("ignore", ".*(effective|seem absent|constant).*")
    tasks = [run(shift) for shift in SHIFTS]
    for task in tasks:
        for name, arms in task["models"].items():
            for arm, row in arms.items():
                print(
                    f"{task['shift']:10} {name:22} {arm:20} "
                    f"{row['mean']:.1f} ± {row['sd']:.1f}",
                    row.get("lead"),
                )
    verdict, because = decide(tasks)
    print(f"{verdict}: {because}")
    result = {
        "study": "shift",
        "command": "python studies/shift.py",
        "seeds": list(SEEDS),
        "tasks": tasks,
        "verdict": verdict,
        "because": because,
        **provenance(),
    }
    publish(result, draw_picture(tasks), "shift")


if __name__ == "__main__":
    main()
