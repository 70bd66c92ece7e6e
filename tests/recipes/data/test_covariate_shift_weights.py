import keras
import numpy as np
import pytest
from contract import numpy
from scipy import stats
from sklearn.linear_model import LogisticRegression

from hornbook.recipes.data.covariate_shift_weights import covariate_shift_weights

GAP = 0.8  # between the means of two unit Gaussians


def gaussians(seed, train=600, test=400, features=2):
    """Two sets that differ in their first feature, and the true ratio."""
    rng = np.random.default_rng(seed)
    x, new = rng.normal(size=(train, features)), rng.normal(size=(test, features))
    new[:, 0] += GAP
    ratio = stats.norm.pdf(x[:, 0], GAP) / stats.norm.pdf(x[:, 0])
    return x, new, ratio


def loss(x):
    """Of a model that says 0 where the truth is x[0] + 1."""
    return (x[:, 0] + 1) ** 2


RISK = (GAP + 1) ** 2 + 1  # its expectation over the test distribution


def closeness(seed):
    """The correlation with the true ratio, and whether the risk came nearer."""
    x, new, ratio = gaussians(seed)
    found = covariate_shift_weights(x, new)
    weighted = np.average(loss(x), weights=found.sample_weight)
    nearer = abs(weighted - RISK) < abs(loss(x).mean() - RISK)
    return np.corrcoef(found.sample_weight, ratio)[0, 1], nearer


def test_true_ratio_and_risk():
    found = [closeness(seed) for seed in range(3)]
    assert min(correlation for correlation, _ in found) > 0.95
    assert all(nearer for _, nearer in found)


@pytest.mark.slow
def test_true_ratio_and_risk_over_100_seeds():
    found = [closeness(seed) for seed in range(100)]
    assert min(correlation for correlation, _ in found) > 0.95
    assert sum(nearer for _, nearer in found) >= 90


def test_ratio_is_that_of_densities_and_the_wrong_formulas_are_not():
    x, new, truth = gaussians(0, train=4000, test=1000)
    found = covariate_shift_weights(x, new, clip=None)
    core = np.abs(x[:, 0]) < 2
    error = np.abs(np.log(found.ratio / truth))[core]
    assert error.max() < 0.3
    assert found.ratio.mean() == pytest.approx(1, abs=0.05)

    both, is_test = np.concatenate([x, new]), np.repeat([0, 1], [4000, 1000])
    model = LogisticRegression().fit(both, is_test)
    without_sizes = np.exp(model.decision_function(x))
    assert np.abs(np.log(without_sizes / truth))[core].min() > 1  # it is log 4
    of_probability = np.exp(model.predict_proba(x)[:, 1])
    assert np.abs(np.log(of_probability / truth))[core].max() > 1
    of_probability /= of_probability.mean()
    weighted = np.average(loss(x), weights=of_probability)
    ours = np.average(loss(x), weights=found.sample_weight)
    assert abs(ours - RISK) < 0.2 < 1 < abs(weighted - RISK)


def test_normalised_then_clipped():
    x, new, _ = gaussians(1)
    free = covariate_shift_weights(x, new, clip=None)
    clipped = covariate_shift_weights(x, new, clip=1.5)
    np.testing.assert_allclose(free.sample_weight, free.ratio / free.ratio.mean(), 1e-6)
    assert free.sample_weight.mean() == pytest.approx(1)
    assert free.clipped == 0
    expected = np.minimum(free.sample_weight, 1.5)
    np.testing.assert_allclose(clipped.sample_weight, expected)
    assert clipped.clipped == (free.sample_weight > 1.5).sum() > 0
    w = clipped.sample_weight.astype("float64")
    assert clipped.effective_size == pytest.approx(w.sum() ** 2 / (w**2).sum(), 1e-5)
    assert clipped.effective_size > free.effective_size
    # The note clips what is not normalised, at a multiple of the sizes' ratio.
    early = np.minimum(free.ratio * 400 / 600, 1.5)
    assert np.abs(early / early.mean() - clipped.sample_weight).max() > 0.1


def test_many_features_are_not_told_apart_by_heart():
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(60, 100)), rng.normal(size=(60, 100))
    found = covariate_shift_weights(x, new)
    assert found.effective_size > 50
    both, is_test = np.concatenate([x, new]), np.repeat([0, 1], 60)
    logits = LogisticRegression().fit(both, is_test).decision_function(x)
    w = np.exp(logits)
    assert w.sum() ** 2 / (w**2).sum() < 45
    assert np.exp(logits).mean() < 0.2  # where it should be 1


def test_repeats_itself_and_leaves_the_global_state():
    x, new, _ = gaussians(2)
    before = np.random.get_state()[1].copy()
    found = [covariate_shift_weights(x, new, seed=3) for _ in range(2)]
    np.testing.assert_array_equal(found[0].sample_weight, found[1].sample_weight)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_images_are_flattened():
    x, new, _ = gaussians(0, 100, 80, features=12)
    flat = covariate_shift_weights(x, new)
    images = covariate_shift_weights(x.reshape(-1, 2, 2, 3), new.reshape(-1, 2, 2, 3))
    np.testing.assert_array_equal(flat.sample_weight, images.sample_weight)
    assert flat.sample_weight.dtype == "float32"


def test_fit_with_the_weights_is_weighted_least_squares():
    x, new, _ = gaussians(0, 200, 200, features=1)
    y = x**2
    w = covariate_shift_weights(x, new).sample_weight
    design = np.concatenate([x, np.ones_like(x)], axis=1)
    root = np.sqrt(w)[:, None]
    slope, offset = np.linalg.lstsq(root * design, root * y, rcond=None)[0].ravel()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, y, sample_weight=w, batch_size=200, epochs=150, verbose=0)
    kernel, bias = (numpy(v).item() for v in model.weights)
    assert kernel == pytest.approx(slope, abs=0.02)
    assert bias == pytest.approx(offset, abs=0.02)
    plain, _ = np.polyfit(x.ravel(), y.ravel(), 1)
    assert abs(slope - plain) > 0.5


def test_says_what_it_used():
    x, new, _ = gaussians(0)
    text = str(covariate_shift_weights(x, new))
    assert "600 training examples" in text
    assert "inputs of the test set" in text and "cheating" in text


def test_warns_where_the_sets_hardly_overlap():
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(300, 1)), rng.normal(4, size=(300, 1))
    with pytest.warns(UserWarning, match=r"worth only \d+: the sets hardly overlap"):
        found = covariate_shift_weights(x, new, clip=None)
    assert found.effective_size < 30


def test_10_against_10_000():
    x, new, _ = gaussians(0, 10, 10_000)
    with pytest.warns(UserWarning, match="`train` has only 10 examples"):
        found = covariate_shift_weights(x, new)
    assert np.isfinite(found.sample_weight).all()
    with pytest.warns(UserWarning, match="`test` has only 10 examples"):
        found = covariate_shift_weights(new, x)
    assert np.isfinite(found.sample_weight).all()
    assert found.sample_weight.mean() == pytest.approx(1, abs=0.1)


def test_constant_features():
    x, new, _ = gaussians(0, features=3)
    x[:, 1] = new[:, 1] = 0.1
    with pytest.warns(UserWarning, match="1 of 3 features are constant: they"):
        found = covariate_shift_weights(x, new)
    without = covariate_shift_weights(x[:, [0, 2]], new[:, [0, 2]])
    np.testing.assert_allclose(found.sample_weight, without.sample_weight, rtol=1e-4)
    new[0, 1] = 5
    with pytest.warns(UserWarning, match="1 of 3 features are constant in `train` but"):
        covariate_shift_weights(x, new)
    with pytest.raises(ValueError, match="All features are constant"):
        covariate_shift_weights(np.ones((40, 2)), np.ones((50, 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip": 1}, "Received: clip=1"),
        ({"clip": np.nan}, "Received: clip=nan"),
        ({"train": np.ones(9)}, r"Received: train\.shape=\(9,\)"),
        ({"test": np.ones((4, 2))}, r"Received: test\.shape=\(4, 2\)"),
        ({"test": np.ones((40, 3))}, r"train\.shape=\(600, 2\), test\.shape=\(40, 3\)"),
        ({"test": np.full((40, 2), np.nan)}, "NaN or infinity in 40 of 40 examples"),
    ],
)
def test_bad_arguments(change, message):
    x, new, _ = gaussians(0)
    with pytest.raises(ValueError, match=message):
        covariate_shift_weights(**{"train": x, "test": new, **change})
    x[7, 1] = np.inf
    with pytest.raises(ValueError, match="infinity in 1 of 600 examples"):
        covariate_shift_weights(x, new)
