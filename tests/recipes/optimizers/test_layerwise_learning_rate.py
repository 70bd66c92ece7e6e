"""Truth: closed forms in NumPy, and the wrapped optimizer by itself."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from contract import check_config, numpy
from keras import ops

from hornbook.recipes.optimizers.layerwise_learning_rate import LayerwiseLearningRate

BACKEND = keras.backend.backend()
REFUSED = {"LossScaleOptimizer", "MultiOptimizer", "ScheduleFreeAdamW"}
OPTIMIZERS = sorted(
    name
    for name, cls in vars(keras.optimizers).items()
    if isinstance(cls, type)
    and issubclass(cls, keras.optimizers.Optimizer)
    and name not in REFUSED | {"Optimizer"}
)
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(3, 4, 2)).astype("float32")
GRADS = RNG.normal(size=(6, 3, 4, 2)).astype("float32")
MULTIPLIERS = {"a": 0.25, "c": 0.0}  # and 1 for b
FACTORS = np.reshape([0.25, 1.0, 0.0], (3, 1, 1))


def variables(dtype="float32", **kwargs):
    return [
        keras.Variable(w, name=name, dtype=dtype, **kwargs)
        for w, name in zip(WEIGHTS, "abc", strict=True)
    ]


def steps(optimizer, grads=GRADS, weights=None):
    """The weights after each step, as (steps, variables, rows, columns)."""
    weights = weights or variables()
    path = []
    for g in grads:
        optimizer.apply([ops.convert_to_tensor(x) for x in g], weights)
        path.append([numpy(w) for w in weights])
    return np.array(path)


def make(optimizer, multipliers=MULTIPLIERS):
    return LayerwiseLearningRate(optimizer, multipliers)


# Closed forms.


def sgd(w, grads, rate, scale, momentum=0.0, nesterov=False):
    v = np.zeros_like(w)
    for g in grads:
        v = momentum * v - rate * g
        w = w + scale * (momentum * v - rate * g if nesterov else v)
        yield w


def adam(w, grads, rate, scale, weight_decay=0.0):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(grads, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        # Keras adds epsilon before it corrects the second moment's bias.
        correction = np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        update = correction * m / (np.sqrt(v) + 1e-7)
        shrunk = w - rate * weight_decay * w
        w = w + scale * (shrunk - rate * update - w)
        yield w


@pytest.mark.parametrize(
    ("name", "truth", "arguments"),
    [
        ("SGD", sgd, {}),
        ("SGD", sgd, {"momentum": 0.9}),
        ("SGD", sgd, {"momentum": 0.9, "nesterov": True}),
        ("Adam", adam, {}),
        ("AdamW", adam, {"weight_decay": 0.3}),
    ],
)
def test_closed_form(name, truth, arguments):
    ours = steps(make(getattr(keras.optimizers, name)(0.1, **arguments)))
    expected = list(truth(WEIGHTS.astype("float64"), GRADS, 0.1, FACTORS, **arguments))
    np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=2e-6)


def test_scaling_the_gradient_is_not_scaling_the_update():
    full = steps(keras.optimizers.Adam(0.1))[-1] - WEIGHTS
    by_gradient = steps(keras.optimizers.Adam(0.1), 0.25 * GRADS)[-1] - WEIGHTS
    ours = steps(make(keras.optimizers.Adam(0.1), {".": 0.25}))[-1] - WEIGHTS
    np.testing.assert_allclose(by_gradient, full, rtol=1e-4)
    np.testing.assert_allclose(ours, 0.25 * full, rtol=1e-4)


# Every optimizer.


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name):
    cls = getattr(keras.optimizers, name)
    plain, slow = steps(cls(0.1)), steps(cls(0.025))
    ours = steps(make(cls(0.1)))
    quarter, full, frozen = ours.swapaxes(0, 1)
    ratio = (quarter[0] - WEIGHTS[0]) / (plain[0, 0] - WEIGHTS[0])
    np.testing.assert_allclose(ratio, 0.25, rtol=2e-3)
    np.testing.assert_array_equal(full, plain[:, 1])
    np.testing.assert_array_equal(frozen, np.broadcast_to(WEIGHTS[2], frozen.shape))
    if name != "Ftrl":  # its weights are not sums of updates
        np.testing.assert_allclose(quarter, slow[:, 0], rtol=1e-5, atol=1e-6)


def test_the_list_of_optimizers_is_not_empty():
    assert {"SGD", "RMSprop", "Adam", "AdamW", "Nadam", "Lion", "Lamb", "Muon"} <= set(
        OPTIMIZERS
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_weights(dtype):
    def final(optimizer):
        weights = variables(dtype)
        for g in GRADS:
            optimizer.apply([ops.cast(x, dtype) for x in g], weights)
        assert {keras.backend.standardize_dtype(w.dtype) for w in weights} == {dtype}
        return np.array([numpy(ops.cast(w, "float32")) for w in weights])

    start = np.array([numpy(ops.cast(w, "float32")) for w in variables(dtype)])
    plain = final(keras.optimizers.SGD(0.1))
    ours = final(make(keras.optimizers.SGD(0.1)))
    np.testing.assert_array_equal(ours[1], plain[1])
    np.testing.assert_array_equal(ours[2], start[2])
    np.testing.assert_allclose(
        ours[0] - start[0], 0.25 * (plain[0] - start[0]), atol=0.05
    )


# 0 freezes; thawing is a number.


def test_frozen_against_decay_momentum_and_nan():
    optimizer = make(keras.optimizers.AdamW(0.1, weight_decay=0.5), {".": 1.0})
    weights = variables()
    before = steps(optimizer, GRADS[:3], weights)[-1]
    optimizer.multipliers = {"[ac]": 0.0}
    np.testing.assert_array_equal(
        steps(optimizer, 0 * GRADS[:2], weights)[-1][[0, 2]], before[[0, 2]]
    )
    after = steps(optimizer, np.nan * GRADS[:2], weights)[-1]
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    assert np.isnan(after[1]).all()


def test_thawing_keeps_the_moments():
    optimizer = make(keras.optimizers.Adam(0.1), {".": 0.0})
    weights = variables()
    frozen = steps(optimizer, GRADS[:3], weights)
    optimizer.multipliers = {".": 0.5}
    thawed = steps(optimizer, GRADS[3:], weights)
    # Moments from all steps, moves in the last three only.
    full = np.diff(list(adam(0 * WEIGHTS.astype("float64"), GRADS, 0.1, 1.0)), axis=0)
    np.testing.assert_array_equal(frozen[-1], WEIGHTS)
    np.testing.assert_allclose(
        thawed, WEIGHTS + 0.5 * np.cumsum(full[2:], 0), rtol=2e-5, atol=2e-6
    )


def test_frozen_without_gradient():
    weights = variables()
    optimizer = make(keras.optimizers.SGD(0.1))
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([None, *map(ops.convert_to_tensor, GRADS[0, 1:])], weights)
    np.testing.assert_array_equal(numpy(weights[0]), WEIGHTS[0])
    np.testing.assert_allclose(
        numpy(weights[1]), WEIGHTS[1] - 0.1 * GRADS[0, 1], rtol=1e-6
    )


# What the wrapped optimizer does before its update.


def test_global_clipping_is_over_all_variables():
    ours = steps(make(keras.optimizers.SGD(0.1, global_clipnorm=1.0)), GRADS[:1])[0]
    norm = np.sqrt(np.sum(GRADS[0] ** 2))  # frozen weights' gradients too
    np.testing.assert_allclose(
        ours, WEIGHTS - FACTORS * 0.1 * GRADS[0] / norm, rtol=1e-5, atol=1e-6
    )


def test_gradient_accumulation():
    ours = steps(make(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)))
    means = GRADS.reshape(3, 2, *WEIGHTS.shape).mean(1)
    truth = list(sgd(WEIGHTS.astype("float64"), means, 0.1, FACTORS))
    np.testing.assert_array_equal(ours[0], WEIGHTS)
    np.testing.assert_allclose(ours[1::2], truth, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(ours[2], ours[1])


def test_schedule():
    def schedule():
        return keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)

    optimizer = make(keras.optimizers.Adam(schedule()))
    ours = steps(optimizer)
    np.testing.assert_array_equal(
        ours[:, 1], steps(keras.optimizers.Adam(schedule()))[:, 1]
    )
    assert float(optimizer.learning_rate) == pytest.approx(0.1 * 0.5 ** len(GRADS))
    assert int(optimizer.iterations) == len(GRADS)
    with pytest.raises(TypeError, match="LearningRateSchedule"):
        optimizer.learning_rate = 0.1


def test_loss_scale_factor():
    optimizer = make(keras.optimizers.SGD(0.1, loss_scale_factor=8.0))
    assert float(optimizer.scale_loss(ops.convert_to_tensor(2.0))) == 16.0
    np.testing.assert_allclose(
        steps(optimizer, 8.0 * GRADS),
        list(sgd(WEIGHTS.astype("float64"), GRADS, 0.1, FACTORS)),
        rtol=1e-5,
        atol=1e-6,
    )


def test_exclude_from_weight_decay():
    optimizer = make(keras.optimizers.AdamW(0.1, weight_decay=0.5), {})
    optimizer.exclude_from_weight_decay(var_names=["b"])
    after = steps(optimizer, 0 * GRADS[:1])[0]
    np.testing.assert_allclose(after[[0, 2]], 0.95 * WEIGHTS[[0, 2]], rtol=1e-6)
    np.testing.assert_array_equal(after[1], WEIGHTS[1])


@pytest.mark.parametrize("constraint", ["UnitNorm", "NonNeg"])
def test_constraints(constraint):
    def run(optimizer):
        weights = variables()
        for weight in weights:
            weight.constraint = getattr(keras.constraints, constraint)()
        return steps(optimizer, weights=weights)

    plain = run(keras.optimizers.SGD(0.1))
    ours = run(make(keras.optimizers.SGD(0.1)))
    np.testing.assert_array_equal(ours[:, 1], plain[:, 1])
    np.testing.assert_array_equal(ours[-1, 2], WEIGHTS[2])
    quarter = ours[-1, 0]
    if constraint == "UnitNorm":
        np.testing.assert_allclose(np.linalg.norm(quarter, axis=0), 1.0, rtol=1e-5)
    else:
        assert (quarter >= 0).all()


def test_float8_statistics_are_not_scaled():
    weights = variables()
    weights[0].overwrite_with_gradient = True
    after = steps(make(keras.optimizers.Adam(0.1)), GRADS[:1], weights)[0]
    np.testing.assert_array_equal(after[0], GRADS[0, 0])


# Moving averages.


@pytest.mark.parametrize("every", [None, 2])
def test_average_is_of_the_scaled_weights(every):
    kwargs = {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": every}
    optimizer = make(keras.optimizers.SGD(0.1, **kwargs))
    weights = variables()
    ours = steps(optimizer, weights=weights)
    w, mean, truth = WEIGHTS.astype("float64"), None, []
    for t, g in enumerate(GRADS, 1):
        w = w - 0.1 * FACTORS * g
        mean = w if mean is None else 0.8 * mean + 0.2 * w
        w = mean if every and t % every == 0 else w
        truth.append(w)
    np.testing.assert_allclose(ours, truth, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(ours[-1, 2], WEIGHTS[2])
    optimizer.finalize_variable_values(weights)
    np.testing.assert_allclose([numpy(x) for x in weights], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(numpy(weights[2]), WEIGHTS[2])


def test_average_of_a_frozen_weight_is_that_weight():
    weights = variables()
    optimizer = make(keras.optimizers.SGD(0.1, use_ema=True), {".": 0.0})
    steps(optimizer, np.concatenate([GRADS, GRADS]), weights)
    optimizer.finalize_variable_values(weights)
    np.testing.assert_array_equal([numpy(w) for w in weights], WEIGHTS)


@pytest.mark.parametrize("accumulate", [None, 2])
def test_average_is_kerass_at_multiplier_one(accumulate):
    def run(wrap):
        optimizer = keras.optimizers.Adam(
            0.1,
            use_ema=True,
            ema_momentum=0.8,
            ema_overwrite_frequency=2,
            gradient_accumulation_steps=accumulate,
        )
        optimizer = make(optimizer, {}) if wrap else optimizer
        weights = variables()
        path = steps(optimizer, weights=weights)
        optimizer.finalize_variable_values(weights)
        return np.concatenate([path, [[numpy(w) for w in weights]]])

    np.testing.assert_allclose(run(True), run(False), rtol=1e-5, atol=1e-6)


# Multipliers.


@pytest.mark.parametrize(
    ("multipliers", "expected"),
    [
        ({}, [1, 1, 1, 1]),
        ({"backbone": 0.5}, [0.5, 0.5, 1, 1]),
        ({"backbone/kernel": 0, "backbone": 0.5, "/bias$": 2.0}, [0, 0.5, 1, 2]),
        (lambda v: 0.25 if "head" in v.path else 0, [0, 0, 0.25, 0.25]),
        ([0.5, 1, 2.0, 0], [0.5, 1, 2, 0]),
        ((1, 1, 1, 0.5), [1, 1, 1, 0.5]),
    ],
)
def test_multipliers(multipliers, expected):
    optimizer = make("adam", multipliers)
    optimizer.build(two_layers().trainable_variables)
    assert optimizer.multipliers == expected
    optimizer.multipliers = {".": 0.125}
    optimizer.multipliers = multipliers
    assert optimizer.multipliers == expected


@pytest.mark.parametrize(
    "multipliers",
    [{"a": -0.1}, {"a": float("nan")}, {"a": float("inf")}, [-1.0], 0.1, "a", None],
)
def test_bad_multipliers(multipliers):
    with pytest.raises(ValueError, match="Received: multipliers="):
        make("adam", multipliers)
    with pytest.raises(ValueError, match="Received: multipliers="):
        make("adam", {}).multipliers = multipliers


@pytest.mark.parametrize(
    ("multipliers", "message"),
    [
        ({"bakcbone": 0.1}, r"\['bakcbone'\] match no.*backbone/kernel.*Received"),
        ({"backbone": 0.1, "backbone/bias": 1.0}, r"\['backbone/bias'\] match no"),
        (lambda v: -1.0, "Received: multipliers="),
        ([1.0, 2.0], "4 trainable variables.*Received: multipliers="),
    ],
)
def test_multipliers_that_do_not_fit(multipliers, message):
    weights = two_layers().trainable_variables
    with pytest.raises(ValueError, match=message):
        make("adam", multipliers).build(weights)
    optimizer = make("adam", {"head": 0.5})
    optimizer.build(weights)
    with pytest.raises(ValueError, match=message):
        optimizer.multipliers = multipliers
    assert optimizer.multipliers == [1, 1, 0.5, 0.5]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused(name):
    cls = getattr(keras.optimizers, name)
    arguments = {
        "LossScaleOptimizer": lambda: [keras.optimizers.Adam()],
        "MultiOptimizer": lambda: [lambda v: keras.optimizers.Adam()],
        "ScheduleFreeAdamW": list,
    }
    with pytest.raises(ValueError, match=f"Cannot wrap a {name}.*Received: optimizer="):
        make(cls(*arguments[name]()))


# State.


@keras.saving.register_keras_serializable(package="hornbook_tests")
def half(variable):
    return 0.5


@pytest.mark.parametrize("multipliers", [{"a": 0.5}, half, [0.5, 1.0, 0.0]])
def test_config(multipliers):
    optimizer = make(
        keras.optimizers.AdamW(0.1, use_ema=True, ema_momentum=0.5), multipliers
    )
    check_config(optimizer)
    again = LayerwiseLearningRate.from_config(optimizer.get_config())
    assert again.use_ema and again.ema_momentum == 0.5
    assert isinstance(again.optimizer, keras.optimizers.AdamW)
    np.testing.assert_array_equal(steps(again), steps(optimizer))
    check_config(optimizer)


def test_set_weights():
    first, second = make(keras.optimizers.Adam(0.1)), make(keras.optimizers.Adam(0.3))
    weights, others = variables(), variables()
    steps(first, weights=weights)
    second.build(others)
    second.set_weights([numpy(v) for v in first.variables])
    for weight, other in zip(weights, others, strict=True):
        other.assign(weight)
    np.testing.assert_array_equal(
        steps(first, weights=weights), steps(second, weights=others)
    )


# In `fit`.

X = RNG.normal(size=(24, 4)).astype("float32")
Y = np.tanh(X @ RNG.normal(size=(4, 1)))


def two_layers():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, "tanh", name="backbone"),
            keras.layers.Dense(1, name="head"),
        ]
    )


def fit(optimizer, model=None, epochs=2, jit_compile=False, **kwargs):
    model = model or two_layers()
    if optimizer is not None:
        model.compile(optimizer, "mse", jit_compile=jit_compile)
    model.fit(X, Y, 8, epochs, verbose=0, shuffle=False, **kwargs)
    return model


def values(model):
    return [numpy(v) for v in model.trainable_variables]


def assert_same(model, other):
    for a, b in zip(values(model), values(other), strict=True):
        np.testing.assert_array_equal(a, b)


class Counting(LayerwiseLearningRate):
    applied = 0

    def apply(self, *args, **kwargs):
        Counting.applied += 1
        return super().apply(*args, **kwargs)


def test_thawing_in_fit_does_not_retrace():
    optimizer = Counting(keras.optimizers.Adam(0.01), {"backbone": 0.0})
    history = []

    def thaw(epoch, logs):
        history.append((values(model), Counting.applied))
        if epoch == 2:
            optimizer.multipliers = {"backbone": 0.1}

    model = two_layers()
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=thaw)
    fit(optimizer, model, 4, jit_compile=BACKEND != "torch", callbacks=[callback])
    weights, applied = zip(*history, strict=True)
    start, first, second, third = weights
    np.testing.assert_array_equal(second[0], start[0])
    assert (first[2] != start[2]).all()
    assert (third[0] != start[0]).all()
    if BACKEND == "torch":  # eager: once for each of the 3 steps of an epoch
        assert np.diff(applied).tolist() == [3, 3, 3]
    else:
        assert applied[1] == Counting.applied


def test_callbacks_see_one_rate():
    def run(optimizer):
        model = fit(
            optimizer,
            epochs=3,
            callbacks=[
                keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.8),
                keras.callbacks.ReduceLROnPlateau(
                    "loss", factor=0.5, patience=1, min_delta=1e9
                ),
                keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
            ],
        )
        return values(model), float(numpy(optimizer.learning_rate))

    slow, rate = run(keras.optimizers.SGD(0.025, 0.9, use_ema=True))
    ours, ours_rate = run(
        make(keras.optimizers.SGD(0.1, 0.9, use_ema=True), {".": 0.25})
    )
    for a, b in zip(ours, slow, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert ours_rate == pytest.approx(4 * rate)
    assert ours_rate == pytest.approx(0.1 * 0.8**3 * 0.5**2)


def test_fit_is_the_plain_optimizers_with_xla():
    plain = fit(keras.optimizers.Adam(0.01), jit_compile=BACKEND != "torch")
    ours = fit(make(keras.optimizers.Adam(0.01), {}), jit_compile=BACKEND != "torch")
    for a, b in zip(values(ours), values(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_mixed_float16():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        plain = fit(keras.optimizers.SGD(0.1))
        # `compile` replaces the fixed scale by a dynamic one.
        ours = fit(make(keras.optimizers.SGD(0.1, loss_scale_factor=8.0), {}))
    finally:
        keras.config.set_dtype_policy(policy)
    assert isinstance(ours.optimizer, keras.optimizers.LossScaleOptimizer)
    for a, b in zip(values(ours), values(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    before = values(ours)
    ours.optimizer.inner_optimizer.multipliers = {"backbone": 0.0}
    after = values(fit(None, ours))
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_array_equal(after[1], before[1])
    assert (after[2] != before[2]).any()


def test_save_and_resume(tmp_path):
    def optimizer(multipliers):
        inner = keras.optimizers.AdamW(0.01, use_ema=True, global_clipnorm=1.0)
        return make(inner, multipliers)

    model = fit(optimizer({"backbone": 0.1}))
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    numbers = model.optimizer.multipliers
    fit(None, model)

    # Keras gives the variables of a loaded Sequential other paths.
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.multipliers == numbers
    assert_same(fit(None, loaded), model)

    again = two_layers()
    again.compile(optimizer({}), "mse", jit_compile=False)
    again.optimizer.build(again.trainable_variables)
    again.load_weights(tmp_path / "model.weights.h5")
    assert again.optimizer.multipliers == numbers
    assert_same(fit(None, again), model)


def test_a_function_is_saved_as_numbers(tmp_path):
    model = two_layers()
    model.compile(make("adam", lambda variable: len(variable.shape) / 4), "mse")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.multipliers == [0.5, 0.25, 0.5, 0.25]


if BACKEND == "jax":

    def test_stateless_apply_under_jit():
        import jax

        optimizer = make(keras.optimizers.Adam(0.1))
        weights = variables()
        optimizer.build(weights)
        apply = jax.jit(optimizer.stateless_apply)
        state = [v.value for v in optimizer.variables]
        values = [v.value for v in weights]
        for g in GRADS:
            values, state = apply(state, list(g), values)
        expected = steps(make(keras.optimizers.Adam(0.1)))[-1]
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal([v.value for v in weights], WEIGHTS)


if BACKEND == "tensorflow":

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_built_inside_a_graph(jit_compile):
        import tensorflow as tf

        optimizer = make(keras.optimizers.Adam(0.1, use_ema=True))
        weights = variables()
        if jit_compile:  # XLA cannot make variables, whatever the optimizer
            optimizer.build(weights)

        @tf.function(jit_compile=jit_compile)
        def apply(grads):
            optimizer.apply(tf.unstack(grads), weights)

        for g in GRADS:
            apply(g)
        np.testing.assert_allclose(
            [numpy(w) for w in weights],
            steps(make(keras.optimizers.Adam(0.1)))[-1],
            rtol=1e-5,
            atol=1e-6,
        )


MIRRORED = """
import keras
import numpy as np
import tensorflow as tf
from hornbook.recipes.optimizers.layerwise_learning_rate import LayerwiseLearningRate

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
y = x.sum(1, keepdims=True)


def run(strategy, **kwargs):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(n, "tanh", name=f"dense{n}") for n in (5, 3, 1)]
        model = keras.Sequential([keras.Input((4,)), *layers])
        optimizer = LayerwiseLearningRate(
            keras.optimizers.AdamW(0.01, **kwargs), {"dense5": 0.0, "dense3": 0.25}
        )
        model.compile(optimizer, "mse")
    start = model.get_weights()
    model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    assert (model.get_weights()[0] == start[0]).all()
    assert (model.get_weights()[2] != start[2]).any()
    return model.get_weights()


mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for kwargs in ({}, {"use_ema": True, "ema_momentum": 0.5}):
    one, two = run(tf.distribute.get_strategy(), **kwargs), run(mirrored, **kwargs)
    for a, b in zip(one, two):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
"""


@pytest.mark.slow
def test_mirrored_strategy():
    subprocess.run(
        [sys.executable, "-c", MIRRORED],
        env=os.environ | {"KERAS_BACKEND": "tensorflow"},
        check=True,
    )
