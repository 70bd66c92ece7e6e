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
    ],
)
def test_labels_that_do_not_fit_are_refused(kind, classes, labels, message):
    with pytest.raises(InputError, match=message):
        read_task(kind, classes, np.array(labels), whole=True)


def test_a_stream_does_not_tell_how_many_classes_there_are():
    with pytest.raises(InputError, match="by classes="):
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
