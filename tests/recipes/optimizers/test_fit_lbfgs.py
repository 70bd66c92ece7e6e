import warnings

import keras
import numpy as np
import pytest
from contract import numpy
from keras import ops
from sklearn.datasets import load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

from hornbook.recipes.optimizers.fit_lbfgs import fit_lbfgs

layers = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 4))
Y = X @ RNG.normal(size=(4, 2)) + RNG.normal(size=(70, 2))
WEIGHTS = RNG.uniform(0, 3, size=70)
# With `floatx` float64, Keras computes in float32 even so on torch (matrix products and
# more) and on JAX (means, tanh and more).
BACKEND = keras.backend.backend()
EXACT = {"ftol": 0, "gtol": 1e-10, "max_iter": 1000, "verbose": 0}


@pytest.fixture
def float64():
    """All of Keras in float64, as the docstring says."""
    dtype_policy = keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy(dtype_policy)
    if keras.backend.backend() == "jax":
        jax.config.update("jax_enable_x64", False)


def linear(loss="mse", units=2, **kwargs):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(units, **kwargs)])
    model.compile(loss=loss)
    return model


def mlp(loss="mse", **kwargs):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, activation="tanh", **kwargs),
            layers.Dense(2, **kwargs),
        ]
    )
    model.compile(loss=loss)
    return model


def squares(y, y_pred):
    """The squared error in float64: JAX's mean, as in "mse", is in float32."""
    return ops.sum(ops.square(y - y_pred), axis=-1)


class TestTruth:
    def solve(self, x, y, weights=1.0, ridge=0.0):
        """Weighted ridge regression with a bias that is not penalised, in NumPy."""
        a = np.hstack([x, np.ones((len(x), 1))])
        w = np.broadcast_to(weights, len(x))[:, None]
        penalty = ridge * len(x) * np.diag([1.0] * x.shape[1] + [0.0])
        return np.linalg.solve(a.T @ (w * a) + penalty, a.T @ (w * y))

    @pytest.mark.parametrize(
        ("chunk_size", "weights", "ridge"),
        [(1000, None, 0.0), (32, None, 0.3), (32, WEIGHTS, 0.0), (70, WEIGHTS, 0.3)],
    )
    def test_least_squares(self, float64, chunk_size, weights, ridge):
        model = linear(squares, kernel_regularizer=keras.regularizers.L2(ridge))
        fit_lbfgs(model, X, Y, chunk_size=chunk_size, sample_weight=weights, **EXACT)
        expected = self.solve(X, Y, 1.0 if weights is None else weights, ridge)
        found = np.vstack(values(model))
        atol = 1e-4 if BACKEND == "torch" else 1e-6
        np.testing.assert_allclose(found, expected, atol=atol)

    def test_least_squares_in_float32(self):
        truth = self.solve(X, Y)
        y = X @ truth[:-1] + truth[-1]  # no residual: the loss does not lose digits
        model = linear()
        fit_lbfgs(model, X, y, chunk_size=32, **EXACT)
        np.testing.assert_allclose(np.vstack(values(model)), truth, atol=1e-6)

    def test_regularizer_added_by_the_chunk_would_be_another_solution(self):
        once, thrice = (self.solve(X, Y, ridge=r) for r in (0.3, 0.9))
        assert np.abs(once - thrice).max() > 0.05

    def logistic(self, x, y, c, **kwargs):
        """Coefficients and biases: ours, and scikit-learn's."""
        head = layers.Dense(
            len(set(y)),
            kernel_initializer="zeros",
            kernel_regularizer=keras.regularizers.L2(1 / (2 * c * len(x))),
        )
        model = keras.Sequential([keras.Input(x.shape[1:]), head])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(loss=loss)
        fit_lbfgs(model, x, y, **({"chunk_size": 256} | EXACT | kwargs))
        truth = LogisticRegression(
            C=c, tol=1e-10, max_iter=10_000, class_weight=kwargs.get("class_weight")
        ).fit(x, y)
        return values(model), (truth.coef_.T, truth.intercept_)

    def test_logistic_regression(self, float64):
        x, y = load_digits(return_X_y=True)
        ours, truth = self.logistic(x[:600] / 16, y[:600], 1.0, gtol=1e-8)
        tolerance = 1e-2 if BACKEND == "torch" else 1e-4
        np.testing.assert_allclose(ours[0], truth[0], atol=tolerance)
        np.testing.assert_allclose(ours[1], truth[1], atol=10 * tolerance)

    def test_logistic_regression_in_float32(self):
        x, y = load_wine(return_X_y=True)
        # Chunks are added in float64: small ones leave the loss more digits to stop by.
        found = self.logistic(scale(x), y, 0.01, chunk_size=32)
        for ours, truth in zip(*found, strict=True):
            np.testing.assert_allclose(ours, truth, atol=5e-5)

    def test_class_weights(self, float64):
        x, y = load_wine(return_X_y=True)
        weights = {0: 5.0, 2: 0.2}
        found = self.logistic(scale(x), y, 0.01, class_weight=weights)
        for ours, truth in zip(*found, strict=True):
            atol = 5e-3 if BACKEND == "torch" else 1e-5
            np.testing.assert_allclose(ours, truth, atol=atol)
        _, plain = self.logistic(scale(x), y, 0.01)
        assert np.abs(plain[0] - found[1][0]).max() > 0.05


def values(model):
    return [numpy(v) for v in model.trainable_variables]


class TestLoss:
    """The loss is what `evaluate` gives with all examples in one batch."""

    @pytest.mark.parametrize(
        ("chunk_size", "weights"), [(70, None), (32, WEIGHTS), (8, None)]
    )
    def test_is_that_of_one_batch(self, chunk_size, weights):
        model = mlp(keras.losses.Huber(), kernel_regularizer=keras.regularizers.L1(0.1))
        history = fit_lbfgs(
            model,
            X,
            Y,
            chunk_size=chunk_size,
            sample_weight=weights,
            max_iter=3,
            verbose=0,
        )
        expected = model.evaluate(X, Y, 70, sample_weight=weights, verbose=0)
        assert history.history["loss"][-1] == pytest.approx(expected, rel=1e-6)

    def test_chunks_do_not_change_the_path(self, float64):
        paths = []
        for chunk_size in (70, 33, 8):
            model = mlp(squares, bias_regularizer="l2")
            fit = {"max_iter": 10, "verbose": 0, "sample_weight": WEIGHTS}
            history = fit_lbfgs(model, X, Y, chunk_size=chunk_size, **fit)
            paths.append(history.history["loss"])
        rtol = 1e-10 if BACKEND == "tensorflow" else 1e-5
        np.testing.assert_allclose(paths[1:], [paths[0]] * 2, rtol=rtol)

    def test_a_mean_of_chunk_means_would_be_another_loss(self):
        model = mlp()
        history = fit_lbfgs(model, X, Y, chunk_size=64, max_iter=3, verbose=0)
        parts = [
            model.evaluate(X[s], Y[s], verbose=0) for s in (slice(64), slice(64, 70))
        ]
        loss = history.history["loss"][-1]
        assert loss == pytest.approx(np.average(parts, weights=[64, 6]), rel=1e-5)
        assert abs(np.mean(parts) / loss - 1) > 0.01

    def test_several_inputs_and_outputs(self):
        inputs = {"a": keras.Input((1,), name="a"), "b": keras.Input((3,), name="b")}
        both = layers.concatenate([inputs["a"], inputs["b"]])
        outputs = {
            "p": layers.Dense(1, name="p")(both),
            "q": layers.Dense(1, name="q")(both),
        }
        model = keras.Model(inputs, outputs)
        model.compile(loss={"p": "mse", "q": "mae"}, loss_weights={"p": 1.0, "q": 0.3})
        x, y = {"a": X[:, :1], "b": X[:, 1:]}, {"p": Y[:, :1], "q": Y[:, 1:]}
        history = fit_lbfgs(model, x, y, chunk_size=32, max_iter=5, verbose=0)
        expected = model.evaluate(x, y, 70, verbose=0, return_dict=True)["loss"]
        assert history.history["loss"][-1] == pytest.approx(expected, rel=1e-6)

    def test_gradients_of_embeddings_and_of_what_the_loss_does_not_see(self):
        class Words(keras.Model):
            def __init__(self):
                super().__init__()
                self.embedding = layers.Embedding(6, 1)
                self.unused = self.add_weight(shape=(3,), name="unused")

            def call(self, x):  # without `training`
                return self.embedding(x)

        model = Words()
        model.compile(loss="mse")
        before = numpy(model.unused)
        words = np.arange(50) % 5
        target = np.sin(np.arange(50.0))[:, None]
        fit_lbfgs(model, words, target, chunk_size=16, verbose=0)
        means = [target[words == word].mean() for word in range(5)]
        table = numpy(model.embedding.embeddings)[:5, 0]
        np.testing.assert_allclose(table, means, atol=1e-4)
        np.testing.assert_array_equal(numpy(model.unused), before)


class TestLikeFit:
    def test_history_and_callbacks(self):
        events = []

        class Watch(keras.callbacks.Callback):
            def on_train_begin(self, logs=None):
                events.append("begin")

            def on_epoch_begin(self, epoch, logs=None):
                events.append(("from", epoch))

            def on_train_batch_end(self, batch, logs=None):
                events.append(("batch", batch))

            def on_epoch_end(self, epoch, logs=None):
                loss = self.model.evaluate(X, Y, 70, verbose=0)[0]
                assert loss == pytest.approx(logs["loss"], rel=1e-5)
                events.append(("to", epoch))

            def on_train_end(self, logs=None):
                events.append(("end", sorted(logs)))

        model = mlp()
        model.compile(loss="mse", metrics=["mae"])
        history = fit_lbfgs(
            model,
            X,
            Y,
            max_iter=3,
            validation_data=(X[:9], Y[:9], WEIGHTS[:9]),
            callbacks=[Watch()],
            verbose=0,
        )
        keys = ["evaluations", "gradient", "loss", "val_loss", "val_mae"]
        epochs = [
            each for i in range(3) for each in (("from", i), ("batch", 0), ("to", i))
        ]
        assert events == ["begin", *epochs, ("end", keys)]
        assert isinstance(history, keras.callbacks.History)
        assert model.history is history
        assert history.epoch == [0, 1, 2]
        assert sorted(history.history) == keys
        assert history.history["evaluations"][-1] >= 4
        _, mae = model.evaluate(X[:9], Y[:9], 9, verbose=0)
        assert history.history["val_mae"][-1] == pytest.approx(mae, rel=1e-5)

    def test_early_stopping_has_the_last_word(self):
        model = mlp()
        # A validation set that the first steps fit best.
        start = numpy(model(X))
        stopping = keras.callbacks.EarlyStopping(
            "val_loss", patience=1, restore_best_weights=True
        )
        history = fit_lbfgs(
            model, X, Y, validation_data=(X, start), callbacks=[stopping], verbose=0
        )
        assert history.stop_reason == "a callback set `stop_training`"
        assert len(history.epoch) == 2
        again = model.evaluate(X, start, 70, verbose=0)
        assert again == pytest.approx(history.history["val_loss"][0], rel=1e-5)

    def test_goes_on_with_fit_and_with_itself(self, tmp_path):
        model = mlp()
        model.compile("adam", "mse")
        first = fit_lbfgs(model, X, Y, max_iter=5, verbose=0)
        model.fit(X, Y, epochs=1, verbose=0)
        second = fit_lbfgs(model, X, Y, max_iter=5, verbose=0)
        assert second.history["loss"][-1] < first.history["loss"][-1]
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(
            again.predict(X, verbose=0), model.predict(X, verbose=0), atol=1e-6
        )

    def test_verbose(self, capsys):
        fit_lbfgs(mlp(), X, Y, max_iter=2, verbose=0)
        assert capsys.readouterr().out == ""
        fit_lbfgs(mlp(), X, Y, max_iter=2)
        out = capsys.readouterr().out
        assert "Epoch 2/2" in out
        assert out.count("gradient: ") >= 2
        assert "Stopped: the limit, max_iter=2, was reached." in out


class TestStops:
    @pytest.mark.parametrize(
        ("stop", "reason"),
        [
            ({"max_iter": 2}, "the limit, max_iter=2, was reached"),
            ({"gtol": 0.1}, "no entry of the gradient is above gtol=0.1"),
            ({"ftol": 0.02, "gtol": 0}, "the loss fell by no more than ftol=0.02 of"),
        ],
    )
    def test_reason(self, stop, reason):
        history = fit_lbfgs(linear(), X, Y, verbose=0, **stop)
        assert history.stop_reason.startswith(reason)
        if "gtol=" in reason:
            assert (
                history.history["gradient"][-1] <= 0.1 < history.history["gradient"][-2]
            )
        if "ftol=" in reason:
            *_, before, last = history.history["loss"]
            assert 0.98 * before <= last < before

    def test_reason_where_the_loss_falls_no_further(self):
        def uphill(y, y_pred):  # its gradient points the wrong way
            error = ops.square(y - y_pred)
            return 2 * ops.stop_gradient(error) - error

        model = linear(uphill)
        before = values(model)
        history = fit_lbfgs(model, X, Y, verbose=0)
        assert history.stop_reason.startswith("the line search found no lower loss")
        for a, b in zip(values(model), before, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_at_the_optimum_nothing_moves(self):
        model = linear()
        before = values(model)
        history = fit_lbfgs(model, X, numpy(model(X)), verbose=0)
        assert history.history == {}
        assert "gradient" in history.stop_reason
        for a, b in zip(values(model), before, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_not_finite_on_the_way(self):
        def loss(y, y_pred):  # it wants to fall where it is NaN
            return ops.where(y_pred < 2.5, -y_pred, np.nan)

        model = linear(loss, units=1, use_bias=False, kernel_initializer="zeros")
        history = fit_lbfgs(model, np.ones((8, 4)), np.ones((8, 1)), verbose=0)
        assert "was nan" in history.stop_reason
        best = float(numpy(model(np.ones((1, 4)))).item())
        assert 0 < best < 2.5

    @pytest.mark.parametrize("iterations", [0, 2])
    def test_best_point_is_restored_after_an_error(self, iterations):
        class Fail(keras.callbacks.Callback):
            best = np.inf, None

            def on_epoch_end(self, epoch, logs=None):
                self.best = min(self.best, (logs["loss"], values(self.model)))
                if epoch == iterations:
                    for v in self.model.trainable_variables:
                        v.assign(ops.full(v.shape, 7.0))
                    raise KeyboardInterrupt

        fail, model = Fail(), mlp()
        with pytest.raises(KeyboardInterrupt):
            fit_lbfgs(model, X, Y, callbacks=[fail], verbose=0)
        for a, b in zip(values(model), fail.best[1], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)

    def test_best_point_is_restored(self):
        model = mlp()
        history = fit_lbfgs(model, X, Y, max_iter=40, verbose=0)
        loss = model.evaluate(X, Y, 70, verbose=0)
        assert loss == pytest.approx(min(history.history["loss"]), rel=1e-6)


class TestWhatMoves:
    def test_frozen_layers_stay(self):
        model = mlp()
        model.layers[0].trainable = False
        model.compile(loss="mse")
        before = [numpy(v) for v in model.layers[0].weights]
        head = values(model)
        history = fit_lbfgs(model, X, Y, verbose=0)
        for v, old in zip(model.layers[0].weights, before, strict=True):
            np.testing.assert_array_equal(numpy(v), old)
        assert all((a != b).any() for a, b in zip(values(model), head, strict=True))
        # What is left is least squares on fixed features.
        hidden = np.tanh(X @ before[0] + before[1])
        a = np.hstack([hidden, np.ones((70, 1))])
        residual = Y - a @ np.linalg.lstsq(a, Y)[0]
        assert history.history["loss"][-1] == pytest.approx(np.mean(residual**2), 1e-4)

    def test_dropout_is_off_and_moving_statistics_stay(self):
        norm, drop = layers.BatchNormalization(), layers.Dropout(0.5, seed=0)
        model = keras.Sequential([keras.Input((4,)), norm, drop, layers.Dense(2)])
        model.compile(loss="mse")
        still = [norm.moving_mean, norm.moving_variance, drop.seed_generator.state]
        for v, value in zip(still[:2], (X.mean(0), X.var(0)), strict=True):
            v.assign(value)
        before = [numpy(v) for v in still]
        with pytest.warns(UserWarning, match="behaves differently in training"):
            history = fit_lbfgs(model, X, Y, max_iter=50, verbose=0)
        for v, old in zip(still, before, strict=True):
            np.testing.assert_array_equal(numpy(v), old)
        a = np.hstack([X, np.ones((70, 1))])
        residual = Y - a @ np.linalg.lstsq(a, Y)[0]
        assert history.history["loss"][-1] == pytest.approx(np.mean(residual**2), 1e-4)

    def test_no_warning_without_cause(self):
        norm = layers.BatchNormalization(trainable=False)
        model = keras.Sequential([keras.Input((4,)), norm, layers.Dense(2)])
        model.compile(loss="mse")
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            fit_lbfgs(model, X, Y, max_iter=2, verbose=0)
        assert not [each for each in seen if "behaves differently" in str(each.message)]


def with_mask():
    words = keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 3, mask_zero=True)(words)
    return keras.Model(words, layers.Dense(1)(x))


class OwnLoss(keras.Sequential):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs):
        return ops.square(ops.mean(y_pred - y))


def activity():
    regularizer = keras.regularizers.L2(0.1)
    return [layers.Dense(2, activity_regularizer=regularizer)]


@pytest.mark.parametrize(
    ("make", "loss", "what"),
    [
        (lambda: linear(), keras.losses.MeanSquaredError("sum"), r"another reduction"),
        (with_mask, "mse", "a mask"),
        (lambda: keras.Sequential(activity()), "mse", "activity"),
        (lambda: OwnLoss([layers.Dense(2)]), "mse", "`compute_loss`"),
    ],
)
def test_what_is_no_mean_fits_in_one_chunk(make, loss, what):
    model = make()
    model.compile(loss=loss)
    x, y = X, Y
    if what == "a mask":
        x = np.random.default_rng(0).integers(0, 9, (70, 5))
        y = np.random.default_rng(1).normal(size=(70, 5, 1))
    with pytest.raises(
        ValueError, match=f"not a mean.*Received: a model with .*{what}"
    ):
        fit_lbfgs(model, x, y, chunk_size=69, verbose=0)
    history = fit_lbfgs(model, x, y, chunk_size=70, max_iter=3, verbose=0)
    expected = model.evaluate(x, y, 70, verbose=0)
    assert history.history["loss"][-1] == pytest.approx(expected, rel=1e-5)


class TestRefuses:
    @pytest.mark.parametrize(
        "bad",
        [
            {"max_iter": 0},
            {"max_iter": 1.5},
            {"chunk_size": 0},
            {"history_size": -1},
            {"sample_weight": WEIGHTS[:3]},
            {"class_weight": {0: 1.0}, "sample_weight": WEIGHTS},
        ],
    )
    def test_arguments(self, bad):
        model = mlp()
        before = values(model)
        with pytest.raises(ValueError, match=r"Received: "):
            fit_lbfgs(model, X, Y, verbose=0, **bad)
        for a, b in zip(values(model), before, strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize(("x", "y"), [(X[:0], Y[:0]), (X, Y[:5]), (3.0, Y)])
    def test_arrays(self, x, y):
        with pytest.raises(ValueError, match=r"the same length.*Received: shapes="):
            fit_lbfgs(mlp(), x, y)

    def test_nan_at_the_start(self):
        model, x = mlp(), X.copy()
        x[3, 2] = np.nan
        before = values(model)
        with pytest.raises(
            ValueError, match=r"not finite at the start.*Received: loss=n"
        ):
            fit_lbfgs(model, x, Y, verbose=0)
        for a, b in zip(values(model), before, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_models(self):
        with pytest.raises(ValueError, match=r"Received: a model that is not compiled"):
            fit_lbfgs(keras.Sequential([layers.Dense(2)]), X, Y)
        frozen = linear()
        frozen.trainable = False
        with pytest.raises(ValueError, match=r"Received: a model that .*frozen"):
            fit_lbfgs(frozen, X, Y)
        with pytest.raises(ValueError, match=r"Received: .* constraints.* on \['"):
            fit_lbfgs(linear(kernel_constraint="non_neg"), X, Y)

        class Own(keras.Sequential):
            def train_step(self, *args):
                raise NotImplementedError

        own = Own([layers.Dense(2)])
        own.compile(loss="mse")
        with pytest.raises(
            ValueError, match=r"Received: a model that .*`train_step` of its"
        ):
            fit_lbfgs(own, X, Y)

    @pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
    def test_half_precision(self, policy):
        model = linear(dtype=policy, name="half")
        with pytest.raises(
            ValueError, match=r"Received: .*half precision.* in \['half"
        ):
            fit_lbfgs(model, X, Y)
