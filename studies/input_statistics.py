"""What a small net gains from prepared inputs, and whose statistics it needs.

Claim:   centring and scaling the inputs helps a net to learn; whitening and LDA are
         ways to go further; the statistics come from the training set alone.
Source:  LeCun et al., "Efficient BackProp", 1998, section 4.3; the study notes
         (docs/site/notes.toml), section "data preprocessing".
Data:    scikit-learn's wine table: 13 measurements of unlike scales, 3 kinds, 59
         bottles to train on, 119 to test.
Rule:    holds, if standardising beats the raw inputs, and a test set that comes one
         kind after the other and is standardised by its own statistics falls below it,
         both with p < 0.05.
Change:  a table whose columns have like scales; a test stream that is mixed as the
         training set is.
Command: python studies/input_statistics.py
Writes:  docs/studies/input_statistics.json and .png
"""

import functools

import keras
import numpy as np
from harness import Study
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from small_nets import in_one_go, renew

from hornbook.recipes.layers.lda_projection import LDAProjection
from hornbook.recipes.layers.min_max_scaling import MinMaxScaling
from hornbook.recipes.layers.pca_whitening import PCAWhitening
from hornbook.recipes.layers.zca_whitening import ZCAWhitening

RATES = (1e-3, 1e-2, 1e-1)
EPOCHS = 40
RAW = "raw measurements"
STANDARD = "Normalization, statistics of the training set"
ALL = "Normalization, statistics of training and test set"
OWN = "Normalization, test batches by their own statistics"


def adapted(layer, x, y):
    """A layer that learned its statistics from a training set."""
    labels = (y,) if isinstance(layer, LDAProjection) else ()
    layer.adapt(x, *labels)
    return lambda values: keras.ops.convert_to_numpy(layer(values.astype("float32")))


def by_own_statistics(x, batch=16):
    """Batches in the order in which they come, each standardised by itself."""
    parts = np.split(x, range(batch, len(x), batch))
    return np.concatenate([(p - p.mean(0)) / (p.std(0) + 1e-7) for p in parts])


def build(inputs, rate):
    """A net of 16 units."""
    model = keras.Sequential(
        [
            keras.Input((inputs,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    # To compile by XLA takes longer than to train.
    model.compile(
        keras.optimizers.Adam(rate),
        "sparse_categorical_crossentropy",
        jit_compile=False,
        steps_per_execution=10,
    )
    return model


@functools.cache
def traced(inputs):
    """The net that all with as many inputs share."""
    return build(inputs, RATES[0])


def accuracy(x, y, test_x, test_y, rate, seed):
    """Trains a net; its accuracy in %."""
    keras.utils.set_random_seed(seed)
    inputs = x.shape[1]
    model = renew(traced(inputs), build(inputs, rate))
    in_one_go(model, x, y, 16, EPOCHS, seed)
    return 100 * np.mean(model.predict(test_x, verbose=0).argmax(1) == test_y)


def best_rate(x, y, seed):
    """The rate that does best on a third of the training set, trained on the rest."""
    parts = train_test_split(x, y, test_size=1 / 3, stratify=y, random_state=seed)
    train_x, held_x, train_y, held_y = parts
    scores = [accuracy(train_x, train_y, held_x, held_y, r, seed) for r in RATES]
    return RATES[int(np.argmax(scores))]


def arm(make, statistics, seed):
    """Test accuracy with inputs prepared by a layer, or raw where there is none."""
    x, y = load_wine(return_X_y=True)
    x, test_x, y, test_y = train_test_split(
        x, y, train_size=1 / 3, stratify=y, random_state=seed
    )
    order = np.argsort(test_y, kind="stable")  # one kind after the other
    test_x, test_y = test_x[order], test_y[order]
    prepare = lambda values: values  # noqa: E731
    if make:
        both = statistics is ALL
        learned = np.concatenate([x, test_x]) if both else x
        prepare = adapted(make(), learned, y)
    own = by_own_statistics(test_x) if statistics is OWN else prepare(test_x)
    x = prepare(x)
    return accuracy(x, y, own, test_y, best_rate(x, y, seed), seed)


def decide(arms):
    """The rule of the header."""
    gain, loss = -arms[RAW]["difference"], -arms[OWN]["difference"]
    sure = [arms[name]["p"] < 0.05 for name in (RAW, OWN)]
    verdict = "holds" if all(sure) and gain > 0 and loss > 0 else "partly"
    if gain <= 0:
        verdict = "not here"
    return verdict, (
        f"Standardising brings {gain:.1f} points; the test set's own statistics, batch "
        f"by batch, cost {loss:.1f}; those of training and test together change it by "
        f"{arms[ALL].get('difference', 0):+.1f}."
    )


MAKERS = {
    STANDARD: (keras.layers.Normalization, STANDARD),
    RAW: (None, STANDARD),
    ALL: (keras.layers.Normalization, ALL),
    OWN: (keras.layers.Normalization, OWN),
    "MinMaxScaling": (MinMaxScaling, STANDARD),
    "PCAWhitening": (PCAWhitening, STANDARD),
    "ZCAWhitening": (ZCAWhitening, STANDARD),
    "LDAProjection": (LDAProjection, STANDARD),
}

STUDY = Study(
    file=__file__,
    arms={name: functools.partial(arm, *how) for name, how in MAKERS.items()},
    baseline=STANDARD,
    measure="Test accuracy on wine (%)",
    decide=decide,
    seeds=tuple(range(10)),
    setting="Adam, the rate chosen for each arm and seed on a third of "
    "the training set",
)

if __name__ == "__main__":
    STUDY.main()
