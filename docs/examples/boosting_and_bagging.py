# SPDX-License-Identifier: Apache-2.0
"""scikit-learn's AdaBoost and bagging over a Keras network, on its digits.

Both are scikit-learn's own. Keras's `SKLearnClassifier` is almost what they need: its
`fit` must name `sample_weight` for AdaBoost to accept it, and its clones forget
`fit_kwargs`, so `Network` says here how it is fitted.

Does it help? 300 digits to learn from, 1,497 to test on, ten networks of 16 hidden
units and 5 epochs each: weak ones, since AdaBoost ends at once with one that makes no
mistake in training. Beside them one such network, and what else the same cost buys:
one of ten times the epochs, one of ten times the units. Five epochs were chosen after
a look at 40, with which a network makes no mistake in training and boosting adds
nothing on the test digits either. Seeds 0 to 4 draw digits and weights:

    one network               82.0 ± 7.5   gain +0.0, of +0.0 to +0.0
    one, ten times as long    93.9 ± 1.1   gain +11.9, of +8.2 to +24.8
    one, ten times as wide    93.1 ± 1.2   gain +11.1, of +7.3 to +23.9
    bagging                   89.1 ± 1.7   gain +7.2, of +2.6 to +20.6
    AdaBoost                  85.2 ± 1.7   gain +3.3, of -1.1 to +14.0

So both lift a weak network, bagging each time, and neither is the way to spend what
they cost: one network, trained as long as all ten, is better by 5 and 9 points.

Command: python docs/examples/boosting_and_bagging.py [seeds]
"""

import sys

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier
from sklearn.model_selection import train_test_split

MEMBERS, UNITS, EPOCHS = 10, 16, 5


def build(X, y, units=UNITS):
    """A compiled network, as `SKLearnClassifier` asks for it."""
    model = keras.Sequential(
        [
            keras.Input(X.shape[1:]),
            keras.layers.Dense(units, "relu"),
            keras.layers.Dense(y.shape[1], "softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy")
    return model


class Network(keras.wrappers.SKLearnClassifier):
    """A Keras network that takes weights for its examples and tells probabilities."""

    def fit(self, X, y, sample_weight=None):
        """Trains a new network.

        AdaBoost's weights sum to 1, which would make every step tiny: they are scaled
        to a mean of 1.
        """
        if sample_weight is not None:
            sample_weight = sample_weight / np.mean(sample_weight)
        how = {"batch_size": 32, "epochs": EPOCHS, "verbose": 0}
        how |= self.fit_kwargs or {}
        return super().fit(X, y, sample_weight=sample_weight, **how)

    def predict_proba(self, X):
        """Probabilities, which bagging averages; without them it would vote."""
        return self.model_.predict(X, verbose=0)

    def predict(self, X):
        """The most probable classes, without a progress bar for each network."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def classifiers():
    """What is compared, by name; the first is the baseline."""
    network = Network(build)
    return {
        "one network": network,
        "one, ten times as long": Network(build, fit_kwargs={"epochs": 10 * EPOCHS}),
        "one, ten times as wide": Network(build, model_kwargs={"units": 10 * UNITS}),
        "bagging": BaggingClassifier(network, MEMBERS),
        "AdaBoost": AdaBoostClassifier(network, n_estimators=MEMBERS),
    }


def accuracies(seed):
    """Each one's share of right answers on the test digits, in percent."""
    x, y = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        x / 16, y, train_size=300, stratify=y, random_state=seed
    )
    found = {}
    for name, classifier in classifiers().items():
        keras.utils.set_random_seed(seed)  # scikit-learn draws from NumPy's
        classifier.fit(train_x, train_y)
        found[name] = 100 * classifier.score(test_x, test_y)
    return found


def main(seeds=5):
    """Compares and prints, each beside one network of the same seed."""
    rows = [accuracies(seed) for seed in range(seeds)]
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        gains = values - [row["one network"] for row in rows]
        spread = values.std(ddof=1) if seeds > 1 else np.nan
        print(
            f"{name:24} {values.mean():5.1f} ± {spread:.1f}"
            f"   gain {gains.mean():+.1f}, of {gains.min():+.1f} to {gains.max():+.1f}"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
