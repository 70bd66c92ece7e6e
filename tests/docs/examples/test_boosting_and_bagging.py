import runpy
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier

EXAMPLE = Path(__file__).parents[3] / "docs/examples/boosting_and_bagging.py"
X, Y = load_digits(return_X_y=True)
X = X / 16


@pytest.fixture
def example():
    """The example's names, which train for two epochs only."""
    names = runpy.run_path(str(EXAMPLE))
    names["Network"].fit.__globals__.update(EPOCHS=2, MEMBERS=2)
    return names


def test_keras_own_wrapper_is_refused_by_adaboost(example):
    """Should this fail, `Network` may be no longer needed."""
    boosting = AdaBoostClassifier(keras.wrappers.SKLearnClassifier(example["build"]))
    with pytest.raises(ValueError, match="doesn't support sample_weight"):
        boosting.fit(X[:60], Y[:60])
    fitted = keras.wrappers.SKLearnClassifier(
        example["build"], fit_kwargs={"epochs": 9}
    )
    assert clone(fitted).fit_kwargs is None


def test_weights_choose_the_examples_and_their_scale_is_nothing(example):
    """Half of the examples have wrong labels, and no weight."""
    example["Network"].fit.__globals__.update(EPOCHS=20)
    x, y, wrong = X[:100], Y[:100], (Y[:100] + 1) % 10
    weights = np.repeat([1.0, 0.0], 100)
    fitted = []
    for scale in (1, 1 / 200):
        keras.utils.set_random_seed(0)
        network = example["Network"](example["build"])
        network.fit(np.concatenate([x, x]), np.concatenate([y, wrong]), scale * weights)
        fitted.append(network)
    assert fitted[0].score(x, y) > 0.8
    np.testing.assert_allclose(*(n.predict_proba(x) for n in fitted), atol=1e-3)


@pytest.mark.parametrize("make", [BaggingClassifier, AdaBoostClassifier])
def test_members_are_networks_of_their_own(example, make):
    ensemble = make(example["Network"](example["build"]), n_estimators=2)
    ensemble.fit(X[:200], Y[:200])
    first, second = (member.model_ for member in ensemble.estimators_)
    assert first is not second
    assert np.abs(first.get_weights()[0] - second.get_weights()[0]).max() > 1e-3
    np.testing.assert_allclose(ensemble.predict_proba(X[:9]).sum(1), 1, rtol=1e-5)


def test_it_prints_a_line_for_each(example, capsys):
    example["main"](1)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:24].strip() for line in lines] == list(example["classifiers"]())


@pytest.mark.slow
def test_what_the_docstring_says_holds():
    names = runpy.run_path(str(EXAMPLE))
    found = [names["accuracies"](seed) for seed in range(3)]
    means = {name: np.mean([row[name] for row in found]) for name in found[0]}
    assert means["one network"] + 1 < means["bagging"]
    assert means["AdaBoost"] < means["bagging"] < means["one, ten times as long"]
