"""Whether Dropout and BatchNormalization harm each other in one net.

Claim:   some ways against overfitting cannot be used together, such as dropout and
         batch normalization.
Source:  Li et al., "Understanding the Disharmony between Dropout and Batch
         Normalization", CVPR 2019; the study notes (docs/site/notes.toml), section
         "structure in practice".
Data:    scikit-learn's digits, 300 to train on, 500 to test; 64-128-128-10, ReLU, Adam
         at 3e-3, 40 epochs in batches of 30; a block is dense, BatchNormalization,
         ReLU, Dropout of 0.5. "Before" has the dropout in front of the normalisation.
         Thirty seeds: with ten, one order of the examples gave +0.3 and 0.0 points (not
         here), another -0.5 and -0.5 (holds).
Rule:    by test accuracy over BatchNormalization alone. Holds, if both orders lose,
         p < 0.05; partly, if one does; not here, if none.
Change:  convolutions; long training; a lower drop probability.
Command: python studies/dropout_with_batchnorm.py
Writes:  docs/studies/dropout_with_batchnorm.json and .png
"""

import functools

import keras
import numpy as np
from harness import Study, by_signs, lead
from mlp import digits
from pictures import COLOURS, dots, panels
from small_nets import in_one_go, renew

from hornbook.recipes.diagnosis.layer_probe import LayerProbe

EPOCHS, COUNT, BATCH, DROP = 40, 300, 30, 0.5
PLAIN, NORM, DROPOUT = "neither", "BatchNormalization", "Dropout"
AFTER, BEFORE = "both, dropout after", "both, dropout before"


def block(kind):
    """The layers of a block."""
    dense, relu = keras.layers.Dense(128), keras.layers.ReLU()
    drop, norm = (
        keras.layers.Dropout(DROP),
        keras.layers.BatchNormalization(momentum=0.9),
    )
    return {
        PLAIN: [dense, relu],
        NORM: [dense, norm, relu],
        DROPOUT: [dense, relu, drop],
        AFTER: [dense, norm, relu, drop],
        BEFORE: [dense, drop, norm, relu],
    }[kind]


def build(kind, seed=0):
    """The net of a kind, compiled."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((64,)), *block(kind), *block(kind)])
    model.add(keras.layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # To compile by XLA takes longer than to train.
    compiled = {"jit_compile": False, "steps_per_execution": COUNT // BATCH}
    model.compile(keras.optimizers.Adam(3e-3), loss, **compiled)
    return model


traced = functools.cache(build)


def arm(kind, seed):
    """Test accuracy in %; running variances over those of the training set at test."""
    x, y, test_x, test_y = digits(seed, train=COUNT)
    model = renew(traced(kind), build(kind, seed))
    in_one_go(model, x, y, BATCH, EPOCHS, seed)
    guesses = model.predict(test_x, batch_size=500, verbose=0).argmax(axis=1)
    found = LayerProbe(x.astype("float32"))(model).values()
    ratios = [
        each["running_variance_ratio"] for each in found if "running_mean_gap" in each
    ]
    return 100 * np.mean(guesses == test_y), {"ratios": np.round(ratios, 3).tolist()}


def decide(arms):
    """The rule of the header."""
    leads = {kind: lead(arms, kind, NORM) for kind in (AFTER, BEFORE)}
    signs = [by < 0 and p < 0.05 for by, p in leads.values()]
    told = "; ".join(
        f"{k}: {by:+.1f} points (p = {p:.2g})" for k, (by, p) in leads.items()
    )
    shift = {
        kind: np.mean([each["ratios"] for each in arms[kind]["details"]], axis=0)
        for kind in (NORM, AFTER, BEFORE)
    }
    ratios = "; ".join(f"{kind} {each[1]:.2f}" for kind, each in shift.items())
    return by_signs(signs), (
        f"Over BatchNormalization alone, {told}. The second layer's running variance "
        f"over the one at test time: {ratios}."
    )


def picture(result):
    """Accuracy on the left, the shift of the variances on the right."""
    figure, (left, right) = panels(2, width=4.8, height=3.8)
    arms = result["arms"]
    for place, row in enumerate(arms.values()):
        dots(left, place, row["values"], COLOURS[place])
    kinds = (NORM, AFTER, BEFORE)
    for place, kind in enumerate(kinds):
        for layer in (0, 1):
            values = [each["ratios"][layer] for each in arms[kind]["details"]]
            label = None if place else f"layer {layer + 1}"
            dots(right, place + 0.3 * layer - 0.15, values, COLOURS[5 * layer], label)
    left.set_xticks(range(len(arms)), arms, rotation=30, ha="right")
    left.set_ylabel("Test accuracy (%)")
    left.set_title(f"{len(result['seeds'])} seeds, mean ± sd", size=10)
    right.set_xticks(range(3), kinds, rotation=30, ha="right")
    right.set_ylabel("Running variance / variance at test")
    right.axhline(1, color="#595959", lw=1)
    right.legend(frameon=False, fontsize=9)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        kind: functools.partial(arm, kind)
        for kind in (PLAIN, NORM, DROPOUT, AFTER, BEFORE)
    },
    baseline=NORM,
    measure="Test accuracy on digits (%)",
    decide=decide,
    seeds=tuple(range(30)),
    setting=f"{COUNT} digits to train on, {EPOCHS} epochs",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
