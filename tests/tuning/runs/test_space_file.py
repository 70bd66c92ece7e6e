"""A search space in a file: what it may have, and what is refused."""

import json
import pickle
import shutil

import keras_tuner
import pytest

from hornbook.errors import InputError
from hornbook.tuning.runs.space_file import SpaceFile, find


def test_a_copy_works_as_the_original(tmp_path):
    copy = tmp_path / "mine.py"
    shutil.copy(find("table"), copy)
    space = SpaceFile(copy)
    assert space.name == "mine" and space.epochs == SpaceFile("table").epochs
    model = space.bound((7,), 3)(keras_tuner.HyperParameters())
    assert model.output_shape == (None, 3)


def test_build_asks_only_for_what_it_names(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def build(hp, num_classes):\n    return num_classes\n")
    assert SpaceFile(path).bound((7,), 3)(None) == 3
    path = tmp_path / "other.py"
    path.write_text("def build(hp):\n    return hp\n")
    assert SpaceFile(path).bound((7,), 3)("hp") == "hp"


def test_bound_build_can_be_sent_elsewhere():
    function = SpaceFile("table").bound((7,), 3)
    again = pickle.loads(pickle.dumps(function))
    one, other = (f(keras_tuner.HyperParameters()) for f in (function, again))
    assert json.loads(one.to_json())["class_name"] == "Sequential"
    assert [w.shape for w in one.weights] == [w.shape for w in other.weights]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "one of cnn, finetune, head, table"),
        ("x = 1", "must have a function `build"),
        ("import nothing_of_the_kind", "cannot be run: ModuleNotFoundError"),
        ("def build(hp:", "cannot be run: SyntaxError"),
    ],
)
def test_what_is_no_space_is_refused(tmp_path, text, message):
    path = tmp_path / "space.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        SpaceFile(path)
