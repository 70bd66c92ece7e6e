import numpy as np
import pytest
from scipy import ndimage, stats
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from hornbook.recipes.data.detect_shift import detect_shift

QUICK = {"n_permutations": 19}


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def halves(seed=0, half=500):
    """Digits without and with labels, drawn into two sets."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    order = np.random.default_rng(seed).permutation(len(labels))
    first, second = order[:half], order[half : 2 * half]
    return images[first], labels[first], images[second], labels[second]


# Under no shift.


def test_no_shift_is_found_where_there_is_none():
    report = detect_shift(normal(0, 200, 5), normal(1, 300, 5), **QUICK)
    assert report.p_value > 0.05
    assert not report.inputs_shifted and not report.moved_features
    assert abs(report.auc - 0.5) < 0.1
    assert "Inputs: no shift found" in str(report)


@pytest.mark.slow
def test_p_values_are_uniform_over_200_runs():
    rng = np.random.default_rng(0)
    p_values, class_p_values = [], []
    for seed in range(200):
        # Skewed and of unequal sizes, where a normal approximation would be off.
        train, test = rng.gamma(0.5, size=(40, 3)), rng.gamma(0.5, size=(90, 3))
        guesses, others = rng.integers(0, 4, 40), rng.integers(0, 4, 90)
        report = detect_shift(
            train,
            test,
            train_predictions=guesses,
            test_predictions=others,
            n_permutations=49,
            seed=seed,
        )
        p_values.append(report.p_value - rng.uniform() / 50)  # the steps made smooth
        class_p_values.append(report.class_p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert stats.kstest(class_p_values, "uniform").pvalue > 0.01
    assert np.mean(np.array(p_values) <= 0.05) < 0.1


@pytest.mark.slow
def test_permuting_the_scores_alone_is_not_uniform():
    """Why each permutation is trained anew: the folds share examples."""
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    is_test = np.repeat([0, 1], [15, 15])
    p_values = []
    for _ in range(200):
        x = rng.normal(size=(30, 10))
        scores = cross_val_predict(
            LogisticRegression(), x, is_test, cv=5, method="decision_function"
        )
        area = roc_auc_score(is_test, scores)
        luck = [roc_auc_score(rng.permutation(is_test), scores) for _ in range(99)]
        p_values.append((1 + np.sum(np.array(luck) >= area)) / 100)
    assert stats.kstest(p_values, "uniform").pvalue < 0.01


# Numbers against closed forms, SciPy and NumPy.


def test_auc_and_direction_of_gaussians():
    step = np.array([0.6, 0.0, 0.8, 0.0])
    report = detect_shift(normal(0, 2000, 4), normal(1, 1500, 4) + step, **QUICK)
    assert report.auc == pytest.approx(stats.norm.cdf(1 / np.sqrt(2)), abs=0.02)
    assert report.p_value == pytest.approx(1 / 20)
    assert report.direction @ step > 0.97
    assert np.linalg.norm(report.direction) == pytest.approx(1)
    odds = 1500 / 2000 * np.exp(normal(1, 1500, 4)[:5] @ step + 0.5)
    np.testing.assert_allclose(report.test_scores[:5], np.log(odds), atol=0.3)
    assert report.train_scores.shape == (2000,) and report.test_scores.shape == (1500,)


def test_direction_of_a_shift_that_no_feature_shows():
    rng = np.random.default_rng(0)
    turn = stats.ortho_group.rvs(60, random_state=0)
    x, new = rng.normal(size=(600, 60)), rng.normal(size=(600, 60))
    new[:, 0] += 1
    report = detect_shift(x @ turn, new @ turn, alpha=0.05, **QUICK)
    assert report.inputs_shifted
    assert report.direction @ turn[0] > 0.8
    assert max(abs(each.effect) for each in report.features) < 0.5


def test_effects_of_features():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(300, 3))
    test = rng.normal([0, 1, 0], [1, 1, 3], size=(200, 3))
    report = detect_shift(train, test, feature_names=["same", "mean", "width"], **QUICK)
    by_name = {each.name: each for each in report.features}
    assert [each.name for each in report.features][2] == "same"
    assert {each.name for each in report.moved_features} == {"mean", "width"}
    for i, name in enumerate(["same", "mean", "width"]):
        a, b = train[:, i], test[:, i]
        within = np.sqrt((300 * a.var() + 200 * b.var()) / 500)
        each = by_name[name]
        assert each.effect == pytest.approx((b.mean() - a.mean()) / within)
        assert each.spread == pytest.approx(b.std() / a.std())
        expected = stats.ks_2samp(a, b, method="asymp")
        assert each.ks == pytest.approx(expected.statistic)
        assert each.p_value == pytest.approx(min(1, 3 * expected.pvalue))


def test_boosting_sees_what_logistic_regression_cannot():
    train, test = normal(0, 300, 2), normal(1, 300, 2)
    test[:, 1] *= 3
    trees = detect_shift(train, test, classifier="boosting", **QUICK)
    assert trees.inputs_shifted and trees.auc > 0.65
    assert trees.direction is None
    assert abs(detect_shift(train, test, **QUICK).auc - 0.5) < 0.1


def test_class_mix_is_chi_squares():
    rng = np.random.default_rng(1)
    guesses, others = rng.choice(4, 400, p=[0.4, 0.3, 0.2, 0.1]), rng.choice(4, 300)
    others[:40] = 0
    x = normal(0, 20, 2)
    with pytest.warns(UserWarning, match="only 20 examples"):
        report = detect_shift(
            x, x + 0.1, train_predictions=guesses, test_predictions=others, **QUICK
        )
    table = [np.bincount(guesses), np.bincount(others)]
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert report.class_p_value == pytest.approx(expected, abs=2e-4)
    shares = [(each.train, each.test) for each in report.classes]
    np.testing.assert_allclose(np.transpose(shares), np.array(table) / [[400], [300]])
    for k, each in enumerate(report.classes):
        two = [[row[k], sum(row) - row[k]] for row in table]
        expected = stats.chi2_contingency(two, correction=False).pvalue
        assert each.p_value == pytest.approx(min(1, 4 * expected), rel=1e-6)


def test_class_mix_of_few_is_exact():
    x = normal(0, 40, 2)
    told = np.repeat([0, 1], [3, 5]), np.repeat([0, 1], [7, 1])
    report = detect_shift(
        x, x, train_predictions=told[0], test_predictions=told[1], **QUICK
    )
    table = [np.bincount(each) for each in told]
    expected = stats.fisher_exact(table).pvalue  # symmetric, so the same order
    assert report.class_p_value == pytest.approx(expected, abs=0.01)
    asymptotic = stats.chi2_contingency(table, correction=False).pvalue
    assert abs(asymptotic - expected) > 0.02


# Planted shifts on digits.


def test_thicker_strokes_are_found_and_named():
    train, _, test, _ = halves()
    thick = ndimage.grey_dilation(test, size=(1, 2, 2))

    def measure(images):
        rows, columns = np.indices((8, 8))
        ink = images.sum(axis=(1, 2))
        return np.stack(
            [
                ink,
                (images * rows).sum(axis=(1, 2)) / ink,
                (images > 0).mean(axis=(1, 2)),
                (images * (columns < 4)).sum(axis=(1, 2)) / ink,
            ],
            axis=1,
        )

    names = ["ink", "height", "inked area", "left share"]
    same = detect_shift(measure(train), measure(test), feature_names=names, **QUICK)
    assert not same.inputs_shifted
    report = detect_shift(measure(train), measure(thick), feature_names=names, **QUICK)
    assert report.inputs_shifted
    assert {each.name for each in report.features[:2]} == {"ink", "inked area"}
    assert all(each.effect > 1 for each in report.features[:2])
    assert "ink: mean +" in str(report)


@pytest.mark.filterwarnings("ignore:.*constant")
def test_thicker_strokes_in_pixels():
    train, _, test, _ = halves()
    assert not detect_shift(train, test, **QUICK).inputs_shifted
    report = detect_shift(train, ndimage.grey_dilation(test, (1, 2, 2)), **QUICK)
    assert report.inputs_shifted and report.auc > 0.95
    assert len(report.moved_features) > 20
    assert all(each.effect > 0 for each in report.moved_features[:20])
    assert report.moved_features[0].name.startswith("x[")


@pytest.mark.filterwarnings("ignore:.*constant")
def test_other_class_mix_is_found_and_named():
    train, labels, test, truths = halves()
    rng = np.random.default_rng(0)
    odds = np.where(truths == 3, 4.0, np.where(truths == 7, 0.1, 1.0))
    chosen = rng.choice(len(test), 250, replace=False, p=odds / odds.sum())
    model = LogisticRegression(max_iter=1000)
    flat = train.reshape(-1, 64)
    guesses = cross_val_predict(model, flat, labels, method="predict_proba")
    model.fit(flat, labels)
    classes = [f"digit {k}" for k in range(10)]

    def compare(images):
        return detect_shift(
            train,
            images,
            train_predictions=guesses,
            test_predictions=model.predict_proba(images.reshape(-1, 64)),
            class_names=classes,
            **QUICK,
        )

    report = compare(test[chosen])
    assert report.classes_shifted
    assert {each.name for each in report.moved_classes} == {"digit 3", "digit 7"}
    assert "digit 3: " in str(report)
    assert not compare(test).classes_shifted


# What it says.


def test_concept_shift_is_said_not_to_be_seen():
    """Labels that mean something else leave the inputs as they were."""
    for test in (normal(1, 100, 2), normal(1, 100, 2) + 2):
        text = str(detect_shift(normal(0, 100, 2), test, **QUICK))
        assert "Concept shift" in text and "cannot be seen from inputs" in text
        assert "label some test examples" in text
        assert ("cannot tell covariate from label shift" in text) == (test.mean() > 1)


def test_repeats_itself_and_leaves_the_global_state():
    before = np.random.get_state()[1].copy()
    x, new = normal(0, 50, 3), normal(1, 50, 3) + 0.3
    first, again = (detect_shift(x, new, seed=4, **QUICK) for _ in range(2))
    assert (first.auc, first.p_value) == (again.auc, again.p_value)
    np.testing.assert_array_equal(first.train_scores, again.train_scores)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


# Awkward data.


def test_10_against_10_000():
    few, many = normal(0, 10, 2), normal(1, 10_000, 2)
    with pytest.warns(UserWarning, match="`train` has only 10 examples"):
        assert not detect_shift(few, many, **QUICK).inputs_shifted
    with pytest.warns(UserWarning, match="`test` has only 10 examples"):
        report = detect_shift(many, few + 3, **QUICK)
    assert report.inputs_shifted and report.auc > 0.9


def test_constant_features():
    x, new = normal(0, 60, 3), normal(1, 70, 3)
    x[:, 1] = new[:, 1] = 0.1
    with pytest.warns(UserWarning, match=r"1 of 3 features are constant.*x\[1\]"):
        report = detect_shift(x, new, **QUICK)
    told = {each.name: each for each in report.features}["x[1]"]
    assert (told.effect, told.spread, told.ks, told.p_value) == (0, 1, 0, 1)
    new[:, 1] = 5
    report = detect_shift(x, new, **QUICK)
    assert report.features[0].name == "x[1]" and report.features[0].effect == np.inf
    assert report.auc == 1
    with pytest.raises(ValueError, match="All features are constant"):
        detect_shift(np.ones((40, 2)), np.ones((50, 2)), **QUICK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0}, "Received: alpha=0"),
        ({"n_permutations": 10}, "n_permutations=10"),
        ({"classifier": "forest"}, "Received: classifier='forest'"),
        ({"feature_names": ["a"]}, "Received: 1 names"),
        ({"train": np.ones(9)}, r"Received: train\.shape=\(9,\)"),
        ({"test": np.ones((4, 2))}, r"Received: test\.shape=\(4, 2\)"),
        ({"test": np.ones((40, 3))}, r"train\.shape=\(40, 2\), test\.shape=\(40, 3\)"),
        ({"test": np.full((40, 2), np.nan)}, "NaN or infinity in 40 of 40 examples"),
        ({"train_predictions": np.zeros(5, int)}, r"test_predictions of object \(\)"),
        ({"train_predictions": np.zeros(5)}, r"train_predictions of float64 \(5,\)"),
        ({"train_predictions": np.full((5, 2), np.nan)}, "finite probabilities"),
    ],
)
def test_bad_arguments(change, message):
    given = {"train": normal(0, 40, 2), "test": normal(1, 40, 2), **QUICK, **change}
    with pytest.raises(ValueError, match=message):
        detect_shift(**given)


def test_predictions_must_be_of_the_same_classes():
    x, ids = normal(0, 40, 2), np.array([0, 1, 2])
    for test, names in ((np.eye(4), None), (-ids, None), (np.eye(3), ["a", "b"])):
        with pytest.raises(ValueError, match="of the same classes"):
            detect_shift(
                x,
                x,
                train_predictions=np.eye(3),
                test_predictions=test,
                class_names=names,
                **QUICK,
            )
