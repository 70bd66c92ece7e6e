import keras
import numpy as np
import pytest
from contract import numpy
from keras import layers, ops

from hornbook.recipes.diagnosis.select_model import select_model

X = np.zeros((8, 1), "float32")
ZEROS = np.zeros((8, 1), "float32")


def constant(value, rate=0.0, loss="mse"):
    """A function that builds a model of one weight: the constant that it predicts."""

    def make():
        start = keras.initializers.Constant(value)
        model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
        model.layers[0].kernel.assign(ops.zeros((1, 1)))
        model.layers[0].bias.assign(start((1,)))
        model.compile(keras.optimizers.SGD(rate), loss)
        return model

    return make


def select(candidates, y=ZEROS, validation=ZEROS, epochs=2, **kwargs):
    return select_model(
        candidates, X, y, validation_data=(X, validation), epochs=epochs, **kwargs
    )


class TestChoice:
    """Models that do not learn have the errors that they were given."""

    @pytest.mark.parametrize(
        ("errors", "tol", "chosen"),
        [
            ([9, 4, 1], 0.0, 2),
            ([9, 1, 4], 0.0, 1),
            ([1, 4, 9], 0.0, 0),
            ([4, 1, 1], 0.0, 1),  # a tie goes to the simpler
            ([4, 1.005, 1], 0.01, 1),
            ([4, 1.005, 1], 0.001, 2),
            ([1.02, 1.005, 1], 0.01, 1),
            ([1.02, 1.005, 1], 0.03, 0),
        ],
    )
    def test_simplest_of_the_best(self, errors, tol, chosen):
        candidates = [constant(np.sqrt(error)) for error in errors]
        found = select(candidates, epochs=1, tol=tol)
        np.testing.assert_allclose(
            [each.val_error for each in found.trials], errors, rtol=1e-6
        )
        assert found.chosen is found.trials[chosen]
        assert found.model is found.trials[chosen].model

    def test_by_validation_and_not_by_training(self):
        found = select([constant(1.0), constant(0.0)], validation=ZEROS + 1)
        assert [each.train_error for each in found.trials] == [1, 0]
        assert found.chosen.name == "1"

    def test_negative_losses(self):
        """The margin lies above the lowest loss also where that is below zero."""
        signed = [constant(value, loss=linear) for value in (-0.5, -0.995, -1.0)]
        assert select(signed, tol=0.0).chosen.name == "3"
        assert select(signed, tol=0.01).chosen.name == "2"

    def test_what_is_not_finite_is_not_chosen(self):
        found = select([constant(np.nan), constant(3.0)])
        assert found.chosen.name == "2"
        assert found.trials[0].epoch is None
        assert found.trials[0].val_error == np.inf
        assert "None of 2" in str(found)


def linear(y_true, y_pred):
    return ops.mean(y_pred, axis=-1)


def test_back_to_the_best_epoch():
    """The constant decays as 0.8^t towards 0; validation is best at 0.8^5."""
    target = 0.8**5
    candidates = {"only": constant(1.0, rate=0.1)}
    (trial,) = select(candidates, validation=ZEROS + target, epochs=12).trials
    steps = 0.8 ** np.arange(1, 13)
    np.testing.assert_allclose(trial.val_loss, (steps - target) ** 2, atol=1e-6)
    assert trial.epoch == 5
    assert len(trial.loss) == 12
    np.testing.assert_allclose(numpy(trial.model.layers[0].bias), target, rtol=1e-5)
    # Not the loss of the history, which is the one before the step.
    np.testing.assert_allclose(trial.train_error, target**2, rtol=1e-5)
    np.testing.assert_allclose(trial.loss[4], 0.8**8, rtol=1e-5)
    assert trial.parameters == 2


def test_training_goes_on_after_it():
    found = select([constant(1.0, rate=0.1)])
    before = found.model.evaluate(X, ZEROS, verbose=0)
    found.model.fit(X, ZEROS, verbose=0)
    assert found.model.evaluate(X, ZEROS, verbose=0) < before


class Pairs(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X[:4], ZEROS[:4]


def test_data_set():
    found = select_model([constant(2.0)], Pairs(), validation_data=Pairs(), epochs=1)
    assert found.chosen.train_error == found.chosen.val_error == 4


def drawn(units=3):
    """A candidate whose result depends on the seed."""

    def make():
        model = keras.Sequential(
            [
                keras.Input((1,)),
                layers.Dense(units, activation="tanh"),
                layers.Dropout(0.5),
                layers.Dense(1),
            ]
        )
        model.compile("adam", "mse")
        return model

    return make


def test_each_starts_from_the_seed():
    x = np.linspace(-1, 1, 8, dtype="float32")[:, None]

    def losses(seed):
        found = select_model(
            [drawn(), drawn()], x, x, validation_data=(x, x), epochs=2, seed=seed
        )
        return [each.val_loss for each in found.trials]

    first, again = losses(0)
    assert first == again
    assert losses(0) == [first, again]
    assert losses(1) != [first, again]


class TestPicture:
    @pytest.mark.parametrize("count", [1, 3, 7])
    def test_it_shows_the_trials(self, tmp_path, count):
        names = [f"model {n}" for n in range(count)]
        values = np.linspace(2, 1, count)
        found = select(dict(zip(names, map(constant, values), strict=True)))
        figure = found.plot(tmp_path / "picture.png")
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
        *panels, below = [axes for axes in figure.axes if axes.get_visible()]
        assert [axes.get_title() for axes in panels] == names
        for panel, trial in zip(panels, found.trials, strict=True):
            np.testing.assert_array_equal(panel.lines[0].get_ydata(), trial.loss)
            np.testing.assert_array_equal(panel.lines[1].get_ydata(), trial.val_loss)
        training, last, best, chosen = below.lines
        trials = found.trials
        assert list(training.get_ydata()) == [trial.loss[-1] for trial in trials]
        assert list(last.get_ydata()) == [trial.val_loss[-1] for trial in trials]
        assert list(best.get_ydata()) == [trial.val_error for trial in trials]
        assert chosen.get_xdata()[0] == trials.index(found.chosen)

    def test_one_that_failed(self):
        figure = select([constant(np.nan), constant(1.0)]).plot()
        assert np.isnan(figure.axes[-1].lines[1].get_ydata()[0])

    def test_the_table_marks_the_chosen(self):
        text = str(select({"small": constant(2.0), "large": constant(1.0)}))
        assert [line[:7] for line in text.splitlines()[1:]] == ["  small", "* large"]


def not_compiled():
    return keras.Sequential([keras.Input((1,)), layers.Dense(1)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": []}, r"Received: candidates=\{\}"),
        ({"candidates": [constant(1.0), 3]}, "Received: candidates="),
        ({"candidates": [constant(1.0), not_compiled]}, "from candidate '2'"),
        ({"candidates": [lambda: None]}, "Received: None from candidate '1'"),
        ({"epochs": 0}, "Received: epochs=0"),
        ({"tol": -0.1}, "tol=-0.1"),
        ({"tol": np.nan}, "tol=nan"),
        ({"x": iter([X])}, "Received: x=<list_iterator"),
        ({"validation_data": None}, "Received: validation_data=None"),
        ({"candidates": [constant(np.nan)]}, "Received: 1 candidates"),
    ],
)
def test_bad_arguments(change, message):
    good = {
        "candidates": [constant(1.0)],
        "x": X,
        "y": ZEROS,
        "validation_data": (X, ZEROS),
        "epochs": 1,
    }
    with pytest.raises(ValueError, match=message):
        select_model(**{**good, **change})


class Legendre(layers.Layer):
    """The Legendre polynomials of x from the first to a degree."""

    def __init__(self, degree):
        super().__init__()
        self.degree = degree

    def call(self, x):
        found = [ops.ones_like(x), x]
        for n in range(1, self.degree):
            found.append(((2 * n + 1) * x * found[-1] - n * found[-2]) / (n + 1))
        return ops.concatenate(found[1:], axis=-1)


def polynomial(degree):
    def make():
        model = keras.Sequential([keras.Input((1,)), Legendre(degree), layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.1), "mse")
        return model

    return make


@pytest.mark.slow
def test_the_degree_in_the_middle_is_found():
    """A noisy cubic, 20 points: neither the line nor the degree 16, for 9 of 10."""
    chosen, truth = [], []
    candidates = {str(degree): polynomial(degree) for degree in (1, 3, 16)}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x = rng.uniform(-1, 1, (220, 1)).astype("float32")
        y = 4 * x**3 - 2 * x + rng.normal(0, 0.4, x.shape).astype("float32")
        held = (x[20:], y[20:])
        found = select_model(
            candidates, x[:20], y[:20], validation_data=held, epochs=150, seed=seed
        )
        chosen.append(found.chosen.name)
        least_squares = np.polynomial.Legendre.fit
        fits = [least_squares(x[:20, 0], y[:20, 0], n) for n in (1, 3, 16)]
        errors = [np.mean((each(held[0]) - held[1]) ** 2) for each in fits]
        truth.append(("1", "3", "16")[int(np.argmin(errors))])
    assert truth.count("3") == 10
    assert chosen.count("3") >= 9, chosen
