"""Truth: SGD on a parabola in NumPy, SciPy's filter, training without the finder."""

import itertools
import random

import keras
import numpy as np
import pytest
from contract import numpy
from scipy.ndimage import gaussian_filter1d

from hornbook.recipes.data.seeded_batches import SeededBatches
from hornbook.recipes.optimizers.find_learning_rate import (
    WIDTH,
    _longest_fall,
    find_learning_rate,
)
from hornbook.recipes.optimizers.layerwise_learning_rate import LayerwiseLearningRate

BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)).astype("float32")
Y = np.tanh(X @ RNG.normal(size=(4, 1))).astype("float32")
ONE = (np.ones((8, 1), "float32"), np.zeros((8, 1), "float32"))
keras_schedules = keras.optimizers.schedules


def find(model, data=(X, Y), **kwargs):
    return find_learning_rate(model, data, **{"steps": 20, "verbose": 0, **kwargs})


def parabola(optimizer):
    """A model whose loss is the square of its one weight, which begins at 2."""
    two = keras.initializers.Constant(2.0)
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer=two)
    model = keras.Sequential([keras.Input((1,)), dense])
    model.compile(optimizer, "mse")
    return model


def on_parabola(rates, weight=2.0):
    """The loss before each step of SGD at the given rates."""
    for rate in rates:
        yield weight**2
        weight -= rate * 2 * weight


# The curve.


def test_curve_is_that_of_sgd_whose_rate_grows_by_a_constant_factor():
    found = find(
        parabola(keras.optimizers.SGD()), ONE, start_lr=1e-3, end_lr=9.0, steps=60
    )
    rates = np.geomspace(1e-3, 9.0, 60)[: len(found.learning_rates)]
    np.testing.assert_allclose(found.learning_rates, rates, rtol=1e-5)
    np.testing.assert_allclose(found.losses, list(on_parabola(rates)), rtol=2e-3)
    # Above 1 the weight grows with each step.
    assert 1 < found.diverged < 9
    assert found.diverged == found.learning_rates[-1]
    assert found.tenth == found.diverged / 10


def test_smoothing_is_a_gaussian_over_decades():
    found = find(simple_model("adam"), start_lr=1e-5, end_lr=1e-1, steps=80)
    sigma = WIDTH / (4 / 79)
    smooth = [
        gaussian_filter1d(values, sigma, mode="constant", truncate=50)
        for values in (found.losses, np.ones(80))
    ]
    np.testing.assert_allclose(found.smoothed, smooth[0] / smooth[1], rtol=1e-6)


def test_steepest_is_where_the_loss_falls_fastest():
    found = find(parabola("sgd"), ONE, start_lr=1e-4, end_lr=1.0, steps=200)
    rates = np.geomspace(1e-4, 1.0, 200)
    falls = np.diff(list(on_parabola(rates)))
    assert abs(np.log10(found.steepest / rates[falls.argmin()])) < WIDTH
    assert found.valley < found.steepest


@pytest.mark.parametrize("seed", range(5))
def test_longest_fall_against_all_subsequences(seed):
    values = np.random.default_rng(seed).normal(size=10)
    first, last = _longest_fall(values)
    longest = max(
        len(places)
        for n in range(1, 11)
        for places in itertools.combinations(range(10), n)
        if (np.diff(values[list(places)]) < 0).all()
    )
    inside = [
        places
        for places in itertools.combinations(range(first, last + 1), longest)
        if (np.diff(values[list(places)]) < 0).all()
    ]
    assert any(p[0] == first and p[-1] == last for p in inside)


def test_a_loss_that_never_falls_suggests_nothing():
    model = parabola(LayerwiseLearningRate("sgd", {".": 0.0}))
    found = find(model, ONE)
    assert found.steepest is found.valley is found.diverged is found.tenth is None
    np.testing.assert_array_equal(found.losses, 4.0)
    assert repr(found) == "steepest=None, valley=None, tenth=None, diverged=None"


def test_negative_losses_do_not_count_as_divergence():
    model = parabola("sgd")
    model.compile("sgd", lambda y, p: (p - y) ** 2 - 100)
    found = find(model, ONE, start_lr=1e-3, end_lr=0.5)
    assert found.diverged is None and len(found.losses) == 20


def test_it_ends_at_a_loss_that_is_not_finite():
    data = [*[ONE] * 15, (np.nan * ONE[0], ONE[1])]
    found = find(parabola("sgd"), data, start_lr=1e-3, end_lr=0.5)
    assert len(found.learning_rates) == len(found.losses) == 15
    assert found.diverged == pytest.approx(np.geomspace(1e-3, 0.5, 20)[15])


def test_plot(tmp_path):
    found = find(parabola("sgd"), ONE, start_lr=1e-3, end_lr=9.0, steps=40)
    figure = found.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert f"steepest: {found.steepest:.2g}" in texts
    assert f"tenth: {found.tenth:.2g}" in texts


def test_progress(capsys):
    find(parabola("sgd"), ONE, end_lr=0.5, verbose=1)
    out = capsys.readouterr().out
    assert "20/20" in out and out.endswith("\n")
    find(parabola("sgd"), ONE, end_lr=0.5)
    assert not capsys.readouterr().out


# Optimizers.


def test_layer_wise_ratios_are_kept():
    plain = find(parabola("sgd"), ONE, start_lr=1e-3, end_lr=0.5)
    half = LayerwiseLearningRate("sgd", {".": 0.5})
    scaled = find(parabola(half), ONE, start_lr=2e-3, end_lr=1.0)
    np.testing.assert_allclose(scaled.losses, plain.losses, rtol=1e-4)
    assert half.multipliers == [0.5]


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("trained", [False, True])
def test_a_schedule_gives_way_to_the_ramp(wrap, trained):
    schedule = keras_schedules.ExponentialDecay(0.0, 1, 0.5)
    optimizer = keras.optimizers.SGD(schedule)
    if wrap:
        optimizer = LayerwiseLearningRate(optimizer, {})
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model = parabola(optimizer)
    if trained:  # at rate 0
        model.fit(*ONE, batch_size=2, epochs=2, verbose=0)
    plain = find(parabola("sgd"), ONE, start_lr=1e-3, end_lr=0.5)
    found = find(model, ONE, start_lr=1e-3, end_lr=0.5)
    np.testing.assert_allclose(found.learning_rates, plain.learning_rates, rtol=1e-4)
    np.testing.assert_allclose(found.losses, plain.losses, rtol=1e-3)
    before = model.get_weights()
    model.fit(*ONE, verbose=0)  # the schedule's rate again, 0
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_gradient_accumulation():
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=2)
    found = find(parabola(optimizer), ONE, start_lr=1e-3, end_lr=0.5)
    np.testing.assert_allclose(
        found.learning_rates, np.geomspace(1e-3, 0.5, 20), rtol=1e-5
    )
    np.testing.assert_array_equal(found.losses[::2], found.losses[1::2])
    truth = list(on_parabola(found.learning_rates[1::2]))
    np.testing.assert_allclose(found.losses[::2], truth, rtol=1e-3)


# What is left behind: nothing.


def make_optimizer(name):
    return {
        "adam": lambda: keras.optimizers.Adam(0.01),
        "schedule": lambda: keras.optimizers.Adam(
            keras_schedules.CosineDecay(0.01, 50)
        ),
        "function": lambda: keras.optimizers.SGD(lambda: 0.01),
        "average": lambda: keras.optimizers.SGD(
            0.01, momentum=0.9, use_ema=True, ema_overwrite_frequency=3
        ),
        "layerwise": lambda: LayerwiseLearningRate(
            keras.optimizers.Adam(0.01), {"first": 0.1}
        ),
        "scaled": lambda: keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.01), dynamic_growth_steps=4
        ),
    }[name]()


def simple_model(optimizer):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


def make_model(name="adam"):
    """Everything that has a state: norms, noise, metrics, an optimizer."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, name="first"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.GaussianNoise(0.1),
            keras.layers.Dense(1),
        ]
    )
    model.compile(make_optimizer(name), "mse", metrics=["mae"])
    return model


def state(model):
    """All that training changes, as bytes."""
    variables = [*model.variables, *model.optimizer.variables]
    variables += model.metrics_variables
    values = [numpy(v).tobytes() for v in variables]
    legacy = np.random.get_state(legacy=False)["state"]
    return values, random.getstate(), legacy["key"].tobytes(), legacy["pos"]


def fits(model, data, **kwargs):
    history = model.fit(*data, verbose=0, epochs=2, **kwargs).history
    return history, state(model), numpy(keras.random.uniform((2,))).tolist()


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("adam", True),
        ("schedule", True),
        ("function", False),
        ("average", False),  # Keras 3.15 on JAX cannot `fit` twice with one
        ("layerwise", False),
        ("scaled", False),
    ],
)
def test_fit_gives_what_it_would_have_given_without(name, again):
    def trainings(finder):
        model, results = make_model(name), []
        for _ in range(1 + again):
            if finder:
                find(model, end_lr=100.0)
            results.append(fits(model, (X, Y)))
        return results

    assert trainings(True) == trainings(False)


def test_state_and_training_step_are_as_they_were():
    model = make_model()
    model.fit(X, Y, verbose=0)
    model.evaluate(X, Y, verbose=0)
    before, step, history = state(model), model.train_function, model.history
    found = find(model)
    assert state(model) == before
    assert model.train_function is step
    assert model.history is history
    assert "train_step" not in vars(model)
    assert found.losses[0] != found.losses[-1]
    assert float(numpy(model.optimizer.learning_rate)) == np.float32(0.01)


def test_two_outputs():
    def training(finder):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((4,))
        outputs = [keras.layers.Dense(1, name=name)(inputs) for name in "ab"]
        model = keras.Model(inputs, outputs)
        model.compile("adam", ["mse", "mae"], metrics=[["mae"], ["mse"]])
        if finder:
            find(model, (X, [Y, Y]))
        return fits(model, (X, [Y, Y]))

    assert training(True) == training(False)


class Draws(keras.utils.PyDataset):
    """Noise from Keras's own generator, which is not public."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        x, y = batches()[index]
        return x + numpy(keras.random.normal(x.shape)), y


@pytest.mark.parametrize("used_before", [False, True])
def test_kerass_own_generator(used_before):
    def draw(finder):
        model = make_model()
        if used_before:
            keras.random.uniform(())
        if finder:
            find(model, Draws())
        return numpy(keras.random.uniform((3,))).tolist(), random.random()

    assert draw(True) == draw(False)


class Fails(keras.utils.PyDataset):
    """Comes to grief at the sixth batch."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def __len__(self):
        return 9

    def __getitem__(self, index):
        random.random(), np.random.random()
        if index < 5:
            return X[:8], Y[:8]
        if self.how is ValueError:
            return X[:8, :3], Y[:8]  # an error in the middle of the step
        raise self.how


@pytest.mark.parametrize(
    ("how", "name"),
    [(ValueError, "adam"), (KeyboardInterrupt, "schedule"), (OSError, "layerwise")],
)
def test_after_an_error_all_is_as_it_was(how, name):
    def training(finder):
        model = make_model(name)
        model.fit(X, Y, verbose=0)
        if finder:
            before = state(model)
            # TensorFlow and torch have errors of their own for a wrong shape.
            with pytest.raises(Exception if how is ValueError else how):
                find(model, Fails(how))
            assert state(model) == before
        return fits(model, (X, Y))

    assert training(True) == training(False)


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make_model()
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        find(model)
        before = state(model)
        found = find(model)
        assert state(model) == before
        assert np.isfinite(found.losses).all()
    finally:
        keras.config.set_dtype_policy("float32")


# Data.


class Shuffling(keras.utils.PyDataset):
    """Shuffles in place at the end of an epoch, from a generator of its own."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)
        self.order = np.arange(40)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        chosen = self.order[index * 8 : index * 8 + 8]
        return X[chosen] + self.rng.normal(size=(8, 4)).astype("float32"), Y[chosen]

    def on_epoch_end(self):
        self.rng.shuffle(self.order)


@pytest.mark.parametrize(
    "make", [Shuffling, lambda: SeededBatches(X, Y, batch_size=8, seed=3)]
)
def test_a_dataset_is_not_told(make):
    def training(finder):
        model, batches = make_model(), make()
        if finder:
            find(model, batches)
        return fits(model, (batches,), shuffle=False)

    assert training(True) == training(False)


def batches(count=5):
    return [(X[8 * i : 8 * i + 8], Y[8 * i : 8 * i + 8]) for i in range(count)]


class Listed(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return batches()[index]


def test_every_kind_of_batches_gives_the_same_curve():
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8).take(4)
    truth, *others = (
        find(make_model(), data).losses for data in (batches(4), dataset, Listed())
    )
    for losses in others:
        np.testing.assert_array_equal(losses, truth)


def test_tf_data_gets_a_new_iterator():
    import tensorflow as tf

    def training(finder):
        model = make_model()
        data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
        if finder:
            find(model, data)
        return fits(model, (data,))

    assert training(True) == training(False)


def test_arrays_come_in_random_order_with_weights_and_by_name():
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    seen = []

    class Model(keras.Model):
        def train_on_batch(self, x, y=None, sample_weight=None, **kwargs):
            seen.append((x, y, sample_weight))
            return super().train_on_batch(x, y, sample_weight, **kwargs)

    outputs = keras.layers.Dense(1)(keras.layers.Add()(list(inputs.values())))
    model = Model(inputs, outputs)
    model.compile("sgd", "mse")
    rows = np.arange(40.0)
    find(model, ({"a": X, "b": 2 * X}, Y, rows), batch_size=16)
    for x, y, weight in seen:
        places = weight.astype(int)
        assert len(places) == 16
        np.testing.assert_array_equal(x["a"], X[places])
        np.testing.assert_array_equal(x["b"], 2 * X[places])
        np.testing.assert_array_equal(y, Y[places])
    assert len({*seen[0][2], *seen[1][2]}) == 32  # without replacement
    assert seen[0][2].tolist() != sorted(seen[0][2])


# Refusals.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start_lr": 0.0}, "Received: start_lr=0.0"),
        ({"start_lr": 1.0, "end_lr": 0.1}, r"Received: start_lr=1\.0, end_lr=0\.1"),
        ({"end_lr": float("inf")}, "end_lr=inf"),
        ({"start_lr": float("nan")}, "start_lr=nan"),
        ({"steps": 9}, "at least 10.*Received: steps=9"),
        ({"steps": 20.5}, r"Received: steps=20\.5"),
        ({"batch_size": 0}, "Received: batch_size=0"),
        ({"data": (x for x in ())}, "only once.*Received: data=<gen"),
        ({"data": []}, "no batches.*Received: data="),
        ({"data": (X, Y[:3])}, r"same number.*Received: shapes="),
        ({"data": (X[:0], Y[:0])}, "at least one.*Received: shapes="),
        ({"data": (X, Y, None)}, "same number.*Received: shapes="),
    ],
)
def test_bad_arguments(arguments, message):
    model = make_model()
    model.optimizer.build(model.trainable_variables)
    before = state(model)
    with pytest.raises(ValueError, match=message):
        find(model, **arguments)
    assert state(model) == before


def test_models_that_are_not_ready():
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    unbuilt.compile("sgd", "mse")
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    for model in (unbuilt, plain):
        with pytest.raises(ValueError, match=r"built and compiled.*Received: model="):
            find(model)
    several = keras.optimizers.MultiOptimizer(lambda v: keras.optimizers.SGD())
    with pytest.raises(ValueError, match=r"several learning.*Received: optimizer="):
        find(simple_model(several))


def test_too_soon_to_read_a_rate_off():
    model = parabola("sgd")
    with pytest.raises(ValueError, match=r"diverged after \d+ steps.*start_lr=2\.0"):
        find(model, ONE, start_lr=2.0)
    np.testing.assert_array_equal(model.get_weights()[0], 2.0)
