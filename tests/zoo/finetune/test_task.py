import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from hornbook.errors import InputError
from hornbook.zoo.finetune.task import (
    Task,
    balanced_weights,
    class_counts,
    number_names,
    read_task,
    weights_by_number,
)

SPARSE = Task("classification", ("a", "b", "c"), sparse=True)


@pytest.mark.parametrize(
    ("kind", "classes", "labels", "expected"),
    [
        ("classification", None, [0, 2, 1], (("0", "1", "2"), True)),
        ("classification", 5, [0, 2, 1], (tuple("01234"), True)),
        ("classification", ("x", "y"), [[1], [0]], (("x", "y"), True)),
        ("classification", None, [[1.0, 0.0], [0.0, 1.0]], (("0", "1"), False)),
        ("multi_label", ("x", "y"), [[1, 1], [0, 0]], (("x", "y"), False)),
        ("regression", None, [0.5, 2.0], (("0",), False)),
        ("regression", ("x", "y"), [[0.5, 2.0]], (("x", "y"), False)),
    ],
)
def test_labels_make_the_task(kind, classes, labels, expected):
    task = read_task(kind, classes, np.array(labels), whole=True)
    assert (task.classes, task.sparse) == expected


@pytest.mark.parametrize(
    ("kind", "classes", "labels", "message"),
    [
        ("classification", 2, [0, 2], "from 0 to 1.*they are from 0 to 2"),
        ("classification", None, [-1, 0], "they are from -1 to 0"),
        ("classification", None, [0, 0], "two classes or more"),
        ("classification", None, [0.5, 1.0], "must be integers, or rows"),
        ("classification", None, [[1, 1], [0, 1]], "a sum of 1"),
        ("classification", 3, [[1, 0], [0, 1]], "as many classes as columns, 2"),
        ("classification", 0, [0, 1], "There must be classes"),
        ("multi_label", None, [0, 1], "rows of 0 and 1"),
        ("multi_label", None, [[0, 2]], "must be 0 or 1"),
        ("regression", None, ["a", "b"], "must be numbers"),
        ("regression", None, [[[1.0]]], "one label or one row"),
        ("regression", None, [1.0, float("nan")], "must be finite"),
    ],
)
def test_labels_that_do_not_fit_are_refused(kind, classes, labels, message):
    with pytest.raises(InputError, match=message):
        read_task(kind, classes, np.array(labels), whole=True)


def test_a_stream_does_not_tell_how_many_classes_there_are():
    with pytest.raises(InputError, match="by num_classes"):
        read_task("classification", None, np.array([0, 1]), whole=False)


def test_names_become_numbers():
    labels, classes = number_names(np.array(["ü", "b", "ü"]), None)
    assert (labels.tolist(), classes) == ([1, 0, 1], ("b", "ü"))
    labels, _ = number_names(np.array(["ü", "b"], object), ("ü", "b"))
    assert labels.tolist() == [0, 1]
    with pytest.raises(InputError, match=r"none of the classes\. Received: c"):
        number_names(np.array(["c"]), ("a", "b"))


def test_balanced_weights_are_scikit_learn_s():
    labels = np.array([0] * 7 + [1] * 2 + [2])
    counts = class_counts(labels, SPARSE)
    assert counts == {"a": 7, "b": 2, "c": 1}
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(list(balanced_weights(counts).values()), expected)
    rows = Task("classification", ("a", "b", "c"), sparse=False)
    assert class_counts(np.eye(3)[labels], rows) == counts


def test_smoothed_numbers_are_smoothed_rows():
    rng = np.random.default_rng(0)
    guesses = rng.dirichlet([1, 1, 1], size=4).astype("float32")
    labels = np.array([0, 2, 1, 1])
    loss = SPARSE.compiled(label_smoothing=0.3)["loss"](labels, guesses)
    target = 0.7 * np.eye(3)[labels] + 0.1
    expected = -(target * np.log(guesses)).sum(axis=1).mean()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(loss), expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_weights_of_examples_count_with_smoothing_too(smoothing):
    rng = np.random.default_rng(0)
    guesses = rng.dirichlet([1, 1, 1], size=3).astype("float32")
    labels, weights = np.array([0, 2, 1]), np.array([1.0, 0.0, 5.0])
    loss = SPARSE.compiled(label_smoothing=smoothing)["loss"]
    loss = keras.losses.get(loss)
    if not isinstance(loss, keras.losses.Loss):
        loss = keras.losses.SparseCategoricalCrossentropy()
    found = loss(labels, guesses, sample_weight=weights)
    target = (1 - smoothing) * np.eye(3)[labels] + smoothing / 3
    each = -(target * np.log(guesses)).sum(axis=1)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(found), (each * weights).sum() / 3, rtol=1e-5
    )


def test_a_regression_is_measured_in_deviations_of_its_targets():
    targets = np.array([[100.0, 1.0], [300.0, 3.0], [200.0, 5.0]])
    task = read_task("regression", None, targets, whole=True)
    np.testing.assert_allclose(task.scale, targets.std(axis=0))
    np.testing.assert_allclose(task.offset, targets.mean(axis=0))
    guesses = np.array([[110.0, 2.0], [280.0, 3.0], [200.0, 1.0]], "float32")
    found = task.compiled()["loss"](targets, guesses)
    expected = (((targets - guesses) / targets.std(axis=0)) ** 2).mean()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), expected, rtol=1e-5)
    # One number an example, as a column or not, and targets that are all the same.
    same = read_task("regression", None, np.array([7, 7]), whole=True)
    assert (same.scale, same.offset) == ((1.0,), (7.0,))
    loss = same.compiled()["loss"](
        np.array([7, 9]), np.array([[7.0], [7.0]], "float32")
    )
    assert float(keras.ops.convert_to_numpy(loss)) == 2.0


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, None),
        ({"b": 3}, {0: 1.0, 1: 3.0, 2: 1.0}),
        ({0: 2.0, "c": 0}, {0: 2.0, 1: 1.0, 2: 0.0}),
        ({np.int64(1): 2}, {0: 1.0, 1: 2.0, 2: 1.0}),
    ],
)
def test_class_weights_by_name_or_number(weights, expected):
    assert weights_by_number(weights, ("a", "b", "c"), {}) == expected


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"d": 1}, "class_weight must name classes: a, b, c. Received: 'd'"),
        ({3: 1}, "Received: 3"),
        ({-1: 1}, "Received: -1"),
        ({0.5: 1}, "Received: 0.5"),
        ({True: 1}, "Received: True"),
        ({"a": -1}, "at least 0"),
        ({"a": float("nan")}, "at least 0"),
        ({"a": "2"}, "at least 0"),
        ("balanced", "can't be counted"),
    ],
)
def test_weights_that_match_no_class_are_refused(weights, message):
    with pytest.raises(InputError, match=message):
        weights_by_number(weights, ("a", "b", "c"), {})
