import keras
import numpy as np
import pytest
from contract import numpy
from scipy import optimize
from sklearn.linear_model import LogisticRegression

from hornbook.recipes.data.label_shift_weights import METHODS, label_shift_weights

MEANS = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
TRAIN, TEST = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])


def draw(rng, priors, count):
    y = rng.choice(3, count, p=priors)
    return rng.normal(MEANS[y]), y


def shifted(seed=0, count=3000):
    """Labels, the test's probabilities, held-out labels and probabilities."""
    rng = np.random.default_rng(seed)
    (x, y), (held, held_y), (new, _) = (
        draw(rng, priors, count) for priors in (TRAIN, TRAIN, TEST)
    )
    model = LogisticRegression().fit(x, y)
    return y, model.predict_proba(new), (held_y, model.predict_proba(held))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("method", METHODS)
def test_known_priors(method, seed):
    y, new, held_out = shifted(seed, count=30_000)
    found = label_shift_weights(y, new, held_out, method=method)
    np.testing.assert_allclose(found.test_priors, TEST, atol=0.03)
    counted = np.bincount(new.argmax(axis=1)) / len(new)  # what is predicted is biased
    assert np.abs(counted - TEST).max() > 0.03


def test_the_weighted_classes_are_the_tests_and_priors_as_weights_are_wrong():
    y, new, held_out = shifted()
    found = label_shift_weights(y, new, held_out)
    assert found.sample_weight.mean() == pytest.approx(1)
    weighted = np.bincount(y, found.sample_weight) / len(y)
    np.testing.assert_allclose(weighted, found.test_priors, atol=1e-6)
    wrong = np.bincount(y, found.test_priors[y])
    assert np.abs(wrong / wrong.sum() - TEST).max() > 0.1


def test_solution_is_that_of_the_linear_system_and_of_joint_C():
    y, new, (held_y, held) = shifted()
    found = label_shift_weights(y, new, (held_y, held))
    joint = np.zeros((3, 3))
    for guess, truth in zip(held.argmax(axis=1), held_y, strict=True):
        joint[guess, truth] += 1 / len(held_y)
    mix = np.bincount(new.argmax(axis=1)) / len(new)
    given = joint / joint.sum(axis=0)
    np.testing.assert_allclose(found.test_priors, np.linalg.solve(given, mix), 1e-6)
    assert found.condition == pytest.approx(np.linalg.cond(given))
    held_priors = np.bincount(held_y) / len(held_y)
    of_joint = np.linalg.solve(joint, mix)
    np.testing.assert_allclose(of_joint, found.test_priors / held_priors, rtol=1e-6)
    np.testing.assert_allclose(
        found.class_weight, found.test_priors / (found.train_priors)
    )
    # The transposed matrix, p(y given pred), is another's.
    swapped = joint.T / joint.sum(axis=1)
    assert np.abs(np.linalg.solve(swapped, mix) - TEST).max() > 0.05


def test_em_is_the_maximum_of_the_likelihood():
    y, new, _ = shifted(count=500)
    found = label_shift_weights(y, new, method="em")
    priors = np.bincount(y) / len(y)

    def negative(q):
        return -np.log(new @ (q / priors)).mean()

    best = optimize.minimize(
        negative,
        np.full(3, 1 / 3),
        bounds=[(1e-9, 1)] * 3,
        constraints={"type": "eq", "fun": lambda q: q.sum() - 1},
        options={"ftol": 1e-14},
    ).x
    np.testing.assert_allclose(found.test_priors, best, atol=1e-4)
    assert found.condition is None


def test_ids_and_probabilities_agree():
    y, new, (held_y, held) = shifted()
    of_ids = label_shift_weights(y, new.argmax(1), (held_y, held.argmax(1)))
    of_probabilities = label_shift_weights(y, new, (held_y, held))
    np.testing.assert_array_equal(of_ids.sample_weight, of_probabilities.sample_weight)
    assert of_ids.sample_weight.dtype == "float32"


def test_never_negative():
    held_y, held = np.repeat([0, 1], 100), np.repeat([0, 1, 0, 1], [80, 20, 20, 80])
    y = np.repeat([0, 1], 20)
    new = np.repeat([0, 1], [95, 5])  # fewer than 20 % of any mix are guessed as 1
    with pytest.warns(UserWarning, match=r"Classes \[1\] seem absent"):
        found = label_shift_weights(y, new, (held_y, held))
    np.testing.assert_array_equal(found.test_priors, [1, 0])
    assert found.effective_size == pytest.approx(20)


@pytest.mark.parametrize("method", METHODS)
def test_class_absent_from_the_test_set(method):
    rng = np.random.default_rng(0)
    means = 4 * MEANS
    y = rng.choice(3, 3000, p=TRAIN)
    model = LogisticRegression().fit(rng.normal(means[y]), y)
    held = model.predict_proba(rng.normal(means[y]))
    new = model.predict_proba(rng.normal(means[rng.choice(2, 1000)]))
    with pytest.warns(UserWarning, match=r"Classes \[2\] seem absent"):
        found = label_shift_weights(y, new, (y, held), method=method)
    np.testing.assert_allclose(found.test_priors, [0.5, 0.5, 0], atol=0.03)
    assert found.sample_weight[y == 2].max() < 1e-2


def test_class_absent_from_training_or_held_out():
    y, new, (held_y, held) = shifted()
    with pytest.raises(ValueError, match=r"needs training examples.*classes \[2\]"):
        label_shift_weights(y[y < 2], new, (held_y, held))
    few = held_y < 2
    with pytest.raises(ValueError, match=r"needs held-out examples.*classes \[2\]"):
        label_shift_weights(y, new, (held_y[few], held[few]))


def test_singular_confusion_matrix():
    y = np.repeat([0, 1, 2], 50)
    never = np.repeat([0, 1, 0], 50)
    with pytest.raises(
        ValueError, match=r"singular.*classes \[2\] are never predicted"
    ):
        label_shift_weights(y, never, (y, never))
    alike = np.tile([0, 1, 2, 1, 2], 30)
    with pytest.raises(ValueError, match=r"singular.*it confuses classes"):
        label_shift_weights(y, alike, (y, alike))


def test_nearly_singular_confusion_matrix():
    y = np.repeat([0, 1], 500)
    guesses = np.repeat([0, 1, 0, 1], [260, 240, 240, 260])
    with pytest.warns(UserWarning, match="nearly singular.* 25 times"):
        label_shift_weights(y, guesses, (y, guesses))


def test_10_against_10_000():
    y, new, (held_y, held) = shifted(count=10_000)
    with pytest.warns(UserWarning, match="`test_predictions` has only 10 examples"):
        found = label_shift_weights(y, new[:10], (held_y, held))
    assert np.isfinite(found.sample_weight).all()
    one_each = [np.flatnonzero(held_y == k)[0] for k in range(3)]
    few = np.concatenate([one_each, np.arange(7)])
    with pytest.warns(UserWarning, match=r"`held_out\[1\]` has only 10 examples"):
        label_shift_weights(y, new, (held_y[few], held_y[few]))


def test_fit_with_the_weights():
    """A model without inputs to learn from learns the test's priors."""
    y, new, held_out = shifted(count=600)
    found = label_shift_weights(y, new, held_out)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3, "softmax")])
    model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    x = np.zeros((600, 1), "float32")
    weights = found.sample_weight
    model.fit(x, y, sample_weight=weights, batch_size=600, epochs=150, verbose=0)
    learned = numpy(model(x[:1]))[0]
    np.testing.assert_allclose(learned, found.test_priors, atol=0.01)


def test_says_what_it_used():
    y, new, held_out = shifted(count=600)
    text = str(label_shift_weights(y, new, held_out))
    assert "class 2: " in text
    assert "inputs of the test set" in text and "cheating" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "bbse"}, "Received: method='bbse'"),
        ({"held_out": None}, "Received: held_out=None"),
        (
            {"method": "em", "test_predictions": np.zeros(50, int)},
            "needs probabilities",
        ),
        ({"labels": np.zeros(5)}, r"Received: labels of float64 \(5,\)"),
        ({"labels": np.array([], int)}, r"Received: labels of int64 \(0,\)"),
        ({"labels": np.array([0, -1])}, "class ids"),
        ({"labels": np.array([0, 1, 2, 3])}, "ids up to 3, .3. columns"),
        ({"test_predictions": np.full((50, 3), np.nan)}, "rows sum to 1"),
        ({"test_predictions": np.ones((50, 3))}, "rows sum to 1"),
        ({"test_predictions": np.zeros((0, 3))}, r"\(0, 3\)"),
        ({"test_predictions": np.full((50, 4), 0.25)}, r"\[3, 4\] columns"),
        ({"held_out": (np.arange(3), np.arange(4))}, "3 labels, 4 predictions"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*has only")
def test_bad_arguments(change, message):
    y, new, held_out = shifted(count=100)
    given = {"labels": y, "test_predictions": new, "held_out": held_out}
    with pytest.raises(ValueError, match=message):
        label_shift_weights(**{**given, **change})
