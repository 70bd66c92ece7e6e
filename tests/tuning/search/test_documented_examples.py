"""What keras-tuner's guides show, with our import: all else as it is there."""

import pickle

import keras
import keras_tuner
import numpy as np
import pytest
from keras import layers

from hornbook.tuning import RandomSearch

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(size=(64, 6, 6, 1)).astype("float32")
Y = (X.mean(axis=(1, 2, 3)) > 0.5).astype("int32")
TRAIN, VALIDATION = (X[:48], Y[:48]), (X[48:], Y[48:])


def build_dense(hp):
    """As in the first guide: not built until it sees data."""
    model = keras.Sequential()
    model.add(layers.Flatten())
    for i in range(hp.Int("num_layers", 1, 3)):
        model.add(
            layers.Dense(
                units=hp.Int(f"units_{i}", min_value=4, max_value=16, step=4),
                activation=hp.Choice("activation", ["relu", "tanh"]),
            )
        )
    if hp.Boolean("dropout"):
        model.add(layers.Dropout(rate=0.25))
    model.add(layers.Dense(2, activation="softmax"))
    rate = hp.Float("lr", min_value=1e-4, max_value=1e-2, sampling="log")
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def done(tuner):
    trials = tuner.oracle.trials.values()
    assert {trial.status for trial in trials} == {"COMPLETED"}
    return trials


class TestGettingStarted:
    def test_random_search(self, tmp_path, capsys):
        build_dense(keras_tuner.HyperParameters())
        tuner = RandomSearch(
            hypermodel=build_dense,
            objective="val_accuracy",
            max_trials=3,
            executions_per_trial=2,
            overwrite=True,
            directory=str(tmp_path),
            project_name="helloworld",
        )
        tuner.search_space_summary()
        tuner.search(*TRAIN, epochs=2, validation_data=VALIDATION)
        models = tuner.get_best_models(num_models=2)
        best_model = models[0]
        best_model.summary()
        tuner.results_summary()
        assert "Best val_accuracy So Far" in capsys.readouterr().out
        assert len(models) == 2

        best_hps = tuner.get_best_hyperparameters(5)
        model = build_dense(best_hps[0])
        model.fit(x=X, y=Y, epochs=1, verbose=0)

    def test_random_search_on_a_cnn(self, tmp_path):
        def build_model(hp):
            inputs = keras.Input(shape=(6, 6, 1))
            x = inputs
            for i in range(hp.Int("conv_blocks", 1, 2, default=1)):
                filters = hp.Int(f"filters_{i}", min_value=2, max_value=6, step=2)
                for _ in range(2):
                    x = layers.Convolution2D(filters, (3, 3), padding="same")(x)
                    x = layers.BatchNormalization()(x)
                    x = layers.ReLU()(x)
                if hp.Choice(f"pooling_{i}", ["avg", "max"]) == "max":
                    x = layers.MaxPool2D()(x)
                else:
                    x = layers.AvgPool2D(2)(x)  # Keras 3.15 wants the size
            x = layers.GlobalAvgPool2D()(x)
            x = layers.Dropout(hp.Float("dropout", 0, 0.5, step=0.1, default=0.5))(x)
            outputs = layers.Dense(2, activation="softmax")(x)
            model = keras.Model(inputs, outputs)
            model.compile(
                optimizer=keras.optimizers.Adam(
                    hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
                ),
                loss="sparse_categorical_crossentropy",
                metrics=["accuracy"],
            )
            return model

        tuner = RandomSearch(
            build_model, "val_accuracy", max_trials=3, directory=str(tmp_path)
        )
        stop = keras.callbacks.EarlyStopping(patience=1)
        tuner.search(
            *TRAIN, validation_data=VALIDATION, epochs=2, callbacks=[stop], verbose=0
        )
        [best] = tuner.oracle.get_best_trials(1)
        accuracy = tuner.get_best_models(1)[0].evaluate(*VALIDATION, verbose=0)[1]
        assert accuracy == pytest.approx(best.score, abs=1e-6)

    def test_fit_of_the_hypermodel(self, tmp_path):
        class MyHyperModel(keras_tuner.HyperModel):
            def build(self, hp):
                return build_dense(hp)

            def fit(self, hp, model, x, y, **kwargs):
                if hp.Boolean("normalize"):
                    x = layers.Normalization()(x)
                return model.fit(x, y, shuffle=hp.Boolean("shuffle"), **kwargs)

        tuner = RandomSearch(
            MyHyperModel(),
            objective="val_accuracy",
            max_trials=2,
            overwrite=True,
            directory=str(tmp_path),
            project_name="tune_hypermodel",
        )
        tuner.search(*TRAIN, epochs=1, validation_data=VALIDATION, verbose=0)
        assert all("shuffle" in trial.hyperparameters.values for trial in done(tuner))
        hypermodel, best = MyHyperModel(), tuner.get_best_hyperparameters()[0]
        hypermodel.fit(best, hypermodel.build(best), *TRAIN, epochs=1, verbose=0)

    def test_metric_of_ones_own_and_objective_with_direction(self, tmp_path):
        @keras.saving.register_keras_serializable(package="test_examples")
        class Error(keras.metrics.MeanMetricWrapper):
            def __init__(self, name="error", **kwargs):
                super().__init__(lambda y, p: keras.ops.abs(y - p), name=name, **kwargs)

        def build_regressor(hp):
            model = keras.Sequential(
                [
                    layers.Flatten(),
                    layers.Dense(units=hp.Int("units", 4, 16, 4), activation="relu"),
                    layers.Dense(units=1),
                ]
            )
            model.compile(optimizer="adam", loss="mse", metrics=[Error()])
            return model

        tuner = RandomSearch(
            hypermodel=build_regressor,
            objective=keras_tuner.Objective("val_error", direction="min"),
            max_trials=3,
            directory=str(tmp_path),
        )
        target = X.mean(axis=(1, 2)).astype("float32")
        tuner.search(
            X[:48], target[:48], validation_data=(X[48:], target[48:]), verbose=0
        )
        scores = sorted(trial.score for trial in done(tuner))
        assert tuner.oracle.get_best_trials(1)[0].score == scores[0]

    def test_fit_returns_the_objective(self, tmp_path):
        class HyperRegressor(keras_tuner.HyperModel):
            def build(self, hp):
                model = keras.Sequential([layers.Flatten(), layers.Dense(1)])
                rate = hp.Float("rate", 1e-3, 1e-2)
                model.compile(keras.optimizers.SGD(rate), "mse")
                return model

            def fit(self, hp, model, x, y, validation_data, **kwargs):
                model.fit(x, y, **kwargs)
                x_val, y_val = validation_data
                guesses = model.predict(x_val, verbose=0)
                return float(np.mean(np.abs(guesses - y_val[:, None])))

        tuner = RandomSearch(
            hypermodel=HyperRegressor(), max_trials=2, directory=str(tmp_path)
        )
        tuner.search(*TRAIN, validation_data=VALIDATION, verbose=0)
        assert all(trial.score > 0 for trial in done(tuner))

    def test_fit_returns_several_metrics(self, tmp_path):
        class Both(keras_tuner.HyperModel):
            def build(self, hp):
                return build_dense(hp)

            def fit(self, hp, model, x, y, validation_data, **kwargs):
                model.fit(x, y, **kwargs)
                loss, accuracy = model.evaluate(*validation_data, verbose=0)
                return {"cost": -accuracy, "surprise": loss}

        tuner = RandomSearch(
            hypermodel=Both(),
            objective=keras_tuner.Objective("cost", "min"),
            max_trials=2,
            directory=str(tmp_path),
        )
        tuner.search(*TRAIN, validation_data=VALIDATION, verbose=0)
        for trial in done(tuner):
            assert trial.score == trial.metrics.get_best_value("cost")
            assert trial.metrics.get_best_value("surprise") > 0

    def test_anything_can_be_tuned(self, tmp_path):
        class MyTuner(RandomSearch):
            def run_trial(self, trial, *args, **kwargs):
                hp = trial.hyperparameters
                x = hp.Float("x", min_value=-1.0, max_value=1.0)
                return x * x + 1

        tuner = MyTuner(max_trials=5, overwrite=True, directory=str(tmp_path))
        tuner.search()
        scores = [trial.score for trial in done(tuner)]
        best = tuner.get_best_hyperparameters()[0].get("x")
        assert best**2 + 1 == min(scores)

    def test_run_trial_that_keeps_its_own_model(self, tmp_path):
        from sklearn.linear_model import LogisticRegression

        class Logistic(RandomSearch):
            def run_trial(self, trial, x, y, x_val, y_val):
                hp = trial.hyperparameters
                model = LogisticRegression(C=hp.Float("C", 1e-2, 1e2, sampling="log"))
                model.fit(x, y)
                path = tmp_path / f"{trial.trial_id}.pickle"
                path.write_bytes(pickle.dumps(model))
                return {"accuracy": model.score(x_val, y_val)}

        tuner = Logistic(
            objective=keras_tuner.Objective("accuracy", "max"),
            max_trials=3,
            directory=str(tmp_path),
        )
        flat = X.reshape(64, -1)
        tuner.search(flat[:48], Y[:48], flat[48:], Y[48:])
        [best] = tuner.oracle.get_best_trials(1)
        model = pickle.loads((tmp_path / f"{best.trial_id}.pickle").read_bytes())
        assert model.score(flat[48:], Y[48:]) == best.score

    def test_run_trial_that_tunes_the_batch_size(self, tmp_path):
        class MyTuner(RandomSearch):
            def run_trial(self, trial, *args, **kwargs):
                kwargs["batch_size"] = trial.hyperparameters.Int("size", 8, 32, step=8)
                return super().run_trial(trial, *args, **kwargs)

        tuner = MyTuner(build_dense, "val_loss", max_trials=2, directory=str(tmp_path))
        tuner.search(*TRAIN, validation_data=VALIDATION, epochs=1, verbose=0)
        assert all("size" in trial.hyperparameters.values for trial in done(tuner))


class TestOtherGuides:
    def test_training_loop_of_ones_own(self, tmp_path):
        class Loop(keras_tuner.HyperModel):
            def build(self, hp):
                model = keras.Sequential([keras.Input((6, 6, 1)), layers.Flatten()])
                model.add(layers.Dense(hp.Int("units", 4, 8), activation="relu"))
                model.add(layers.Dense(2))
                return model

            def fit(self, hp, model, x, y, validation_data, callbacks=None, **kwargs):
                size = hp.Int("batch_size", 8, 24, step=8)
                loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
                model.compile(keras.optimizers.Adam(hp.Float("rate", 1e-3, 1e-2)), loss)
                for callback in callbacks:
                    callback.set_model(model)
                best = float("inf")
                for epoch in range(2):
                    for start in range(0, len(x), size):
                        batch = slice(start, start + size)
                        model.train_on_batch(x[batch], y[batch])
                    value = float(model.test_on_batch(*validation_data))
                    for callback in callbacks:
                        callback.on_epoch_end(epoch, logs={"my_metric": value})
                    best = min(best, value)
                return best

        tuner = RandomSearch(
            Loop(),
            objective=keras_tuner.Objective("my_metric", "min"),
            max_trials=2,
            directory=str(tmp_path),
            project_name="custom_training",
            overwrite=True,
        )
        tuner.search(*TRAIN, validation_data=VALIDATION)
        assert all(trial.score > 0 for trial in done(tuner))
        assert tuner.get_best_models()[0].built

    def test_conditional_scopes(self, tmp_path):
        def build(hp):
            model = keras.Sequential([layers.Flatten()])
            model_type = hp.Choice("model_type", ["wide", "deep"])
            with hp.conditional_scope("model_type", ["wide"]):
                if model_type == "wide":
                    model.add(layers.Dense(hp.Int("wide_units", 8, 16)))
            with hp.conditional_scope("model_type", ["deep"]):
                if model_type == "deep":
                    for i in range(hp.Int("depth", 1, 2)):
                        model.add(layers.Dense(hp.Int(f"deep_units_{i}", 2, 4)))
            model.add(layers.Dense(2, activation="softmax"))
            model.compile("sgd", "sparse_categorical_crossentropy")
            return model

        tuner = RandomSearch(
            build, "val_loss", max_trials=4, seed=1, directory=str(tmp_path)
        )
        tuner.search(*TRAIN, validation_data=VALIDATION, verbose=0)
        kinds = set()
        for trial in done(tuner):
            values = trial.hyperparameters.values
            kinds.add(values["model_type"])
            assert ("wide_units" in values) == (values["model_type"] == "wide")
        assert kinds == {"wide", "deep"}

    def test_failed_trials(self, tmp_path):
        def build(hp):
            units = hp.Int("units", 1, 4)
            if units > 2:
                raise keras_tuner.errors.FailedTrialError("Model is too large.")
            model = keras.Sequential([layers.Flatten(), layers.Dense(units)])
            model.add(layers.Dense(1))
            model.compile("sgd", "mse")
            return model

        tuner = RandomSearch(
            build,
            objective="val_loss",
            max_trials=4,
            max_consecutive_failed_trials=4,
            directory=str(tmp_path),
        )
        tuner.search(*TRAIN, validation_data=VALIDATION, verbose=0)
        for trial in tuner.oracle.trials.values():
            failed = trial.hyperparameters["units"] > 2
            assert trial.status == ("FAILED" if failed else "COMPLETED")

    def test_tensorboard_of_each_trial(self, tmp_path):
        logs = tmp_path / "logs"
        tuner = RandomSearch(
            build_dense, "val_loss", max_trials=2, directory=str(tmp_path)
        )
        tuner.search(
            *TRAIN,
            validation_data=VALIDATION,
            callbacks=[keras.callbacks.TensorBoard(str(logs))],
            verbose=0,
        )
        done(tuner)
        assert (
            sorted(path.name for path in logs.glob("*/execution0"))
            == ["execution0"] * 2
        )

    def test_part_of_the_space_is_given(self, tmp_path):
        hp = keras_tuner.HyperParameters()
        hp.Float("lr", min_value=1e-3, max_value=2e-3)
        hp.Fixed("activation", "tanh")
        tuner = RandomSearch(
            build_dense,
            hyperparameters=hp,
            tune_new_entries=False,
            objective="val_loss",
            max_trials=2,
            directory=str(tmp_path),
        )
        tuner.search(*TRAIN, validation_data=VALIDATION, verbose=0)
        for trial in done(tuner):
            assert 1e-3 <= trial.hyperparameters["lr"] <= 2e-3
            assert trial.hyperparameters["activation"] == "tanh"

    def test_compile_arguments_are_overridden(self, tmp_path):
        tuner = RandomSearch(
            build_dense,
            optimizer=keras.optimizers.Adam(1e-3),
            loss="sparse_categorical_crossentropy",
            metrics=["sparse_top_k_categorical_accuracy"],
            objective="val_loss",
            max_trials=2,
            directory=str(tmp_path),
        )
        tuner.search(*TRAIN, validation_data=VALIDATION, verbose=0)
        names = next(iter(done(tuner))).metrics.metrics
        assert "val_sparse_top_k_categorical_accuracy" in names
