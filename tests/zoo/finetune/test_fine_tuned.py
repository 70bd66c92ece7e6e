import keras
import numpy as np
import pytest
from tiny import build, patterns

from hornbook.errors import InputError
from hornbook.zoo import fine_tune

NAMES = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def tuned():
    x, y = patterns()
    return fine_tune(
        build(),
        (x, np.array(NAMES)[y]),
        (x, np.array(NAMES)[y]),
        epochs=20,
        learning_rate=0.1,
        steps_per_epoch=6,
        batch_size=8,
    )


def test_it_predicts_and_evaluates_names(tuned):
    x, y = patterns()
    guesses = np.array(NAMES)[tuned.predict(x).argmax(axis=1)]
    accuracy = (guesses == np.array(NAMES)[y]).mean()
    assert accuracy > 0.9
    for found in (
        tuned.evaluate(x, np.array(NAMES)[y]),
        tuned.evaluate((x, y)),
        tuned.evaluate(_Batches(x, y)),
    ):
        assert found["accuracy"] == pytest.approx(accuracy, abs=1e-6)


class _Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = slice(16 * index, 16 * index + 16)
        return self.x[part], self.y[part]


def test_it_tells_in_five_lines_what_it_is(tuned):
    lines = repr(tuned).splitlines()
    assert len(lines) == 5
    assert lines[0] == "FineTuned: classification, 3 outputs (ant, bee, cat)"
    losses = [row["val_loss"] for row in tuned.history if row["phase"] == "all"]
    best = int(np.argmin(losses)) + 1
    assert f"after epoch {best} of {len(losses)} are kept" in lines[3]
    assert f"({min(losses):.3g})" in lines[3]


def test_what_was_kept_is_the_best_epoch(tuned):
    x, y = patterns()
    losses = [row["val_loss"] for row in tuned.history if row["phase"] == "all"]
    assert tuned.evaluate(x, y)["loss"] == pytest.approx(min(losses), rel=1e-3)


def test_it_draws_its_curves(tuned):
    left, _ = tuned.plot().axes
    [training] = [each for each in left.lines if each.get_linestyle() == "-"][:1]
    np.testing.assert_allclose(
        training.get_ydata(), [row["loss"] for row in tuned.history]
    )


def test_it_is_saved_for_plain_keras(tuned, tmp_path):
    tuned.save(tmp_path / "m.keras")
    x, _ = patterns()
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), tuned.predict(x))
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]
    with pytest.raises(InputError, match=r"must end in \.keras"):
        tuned.save(tmp_path / "m.h5")


def test_data_without_labels_are_refused(tuned):
    with pytest.raises(InputError, match="Data must be"):
        tuned.evaluate(patterns()[0])


def test_a_regression_comes_back_in_its_units():
    x, y = patterns()
    targets = 1000.0 + 200 * y
    tuned = fine_tune(
        build(),
        (x, targets),
        task="regression",
        epochs=40,
        learning_rate=0.1,
        batch_size=8,
        steps_per_epoch=6,
    )
    guesses = tuned.predict(x)[:, 0]
    assert abs(guesses - targets).mean() < 60
    assert tuned.evaluate(x, targets)["mae"] == pytest.approx(
        abs(guesses - targets).mean(), rel=1e-3
    )
    assert tuned.history[-1]["mae"] < 300
