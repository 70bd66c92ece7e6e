"""`fine_tune` on a backbone small enough to be trained in a second."""

import functools
import math
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers
from tiny import build, patterns

from hornbook.errors import InputError
from hornbook.recipes.data.seeded_batches import SeededBatches
from hornbook.zoo import fine_tune
from hornbook.zoo.finetune.callbacks import LossNotFinite
from hornbook.zoo.finetune.feature_cache import FeatureCache, extract
from hornbook.zoo.finetune.inputs import Arrays, Stream
from hornbook.zoo.finetune.mixing import Mix, Mixed


@pytest.fixture(scope="module")
def data():
    return patterns()


def weights(model):
    return {v.path: keras.ops.convert_to_numpy(v) for v in model.variables}


def same(a, b):
    return {path for path in a if np.array_equal(a[path], b[path])}


@pytest.fixture
def adam(monkeypatch):
    """Sets Adam's epsilon.

    A large one keeps a gradient that is nothing but rounding from moving its weight by
    a whole step; a small one lets each gradient do so.
    """

    def set_epsilon(epsilon):
        changed = functools.partial(keras.optimizers.Adam, epsilon=epsilon)
        monkeypatch.setattr(keras.optimizers, "Adam", changed)

    return set_epsilon


def tune(backbone, train, validation_data=None, **options):
    """`fine_tune`, where an epoch is one pass over the 48 examples."""
    steps = math.ceil(48 / options.get("batch_size", 32))
    options = {"steps_per_epoch": steps, **options}
    return fine_tune(backbone, train, validation_data, **options)


class Watch(keras.callbacks.Callback):
    """Keeps what training looks like as each epoch begins and ends."""

    def __init__(self, look):
        super().__init__()
        self.look, self.begin, self.epochs = look, [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.begin.append(self.look(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(self.look(self.model))


def slots(model):
    """What the optimizer knows of the head's weights, and its number of steps."""
    found = {}
    for variable in model.optimizer.optimizer.variables:
        if "probabilities" in variable.name or variable.name == "iteration":
            found[variable.name] = keras.ops.convert_to_numpy(variable).copy()
    return found


@pytest.mark.parametrize("cache", ["memory", None])
def test_a_thaw_keeps_adam_s_moments(data, cache):
    watch = Watch(slots)
    tune(build(), data, epochs=4, cache=cache, callbacks=[watch])
    ended, began = watch.epochs[1], watch.begin[2]
    assert len(ended) == 5
    assert sum("moment" in name or "velocity" in name for name in ended) == 4
    for name, value in ended.items():
        np.testing.assert_array_equal(began[name], value)
        assert np.any(value)


@pytest.mark.parametrize("strategy", ["head_then_all", "gradual_unfreezing"])
def test_phases_share_one_compiled_step(data, strategy):
    watch = Watch(lambda model: id(model.optimizer))
    options = {"strategy": strategy, "epochs": 4, "cache": None}
    tune(build(), data, callbacks=[watch], **options)
    assert len(watch.epochs) == 4
    assert len(set(watch.epochs)) == 1


def test_layer_decay_s_rates_are_the_closed_form(data, adam):
    adam(1e-20)  # Adam's first step is then the rate itself, whatever the gradient.
    backbone = build(norm=False)
    rate, decay = 2.0**-10, 0.5
    before = weights(backbone.model)
    tuned = tune(
        backbone,
        data,
        strategy="layer_decay",
        layer_decay=decay,
        learning_rate=keras.optimizers.schedules.ExponentialDecay(rate, 1, 1.0),
        epochs=1,
        batch_size=48,
        dropout=0.0,
    )
    after = weights(backbone.model)
    for number in range(3):
        for name in (f"conv{number}/kernel", f"conv{number}/bias"):
            step = np.abs(after[name] - before[name])
            moved = step[step > 0]
            assert len(moved)
            np.testing.assert_allclose(moved, rate * decay ** (3 - number), rtol=0.01)
    bias = tuned.model.get_layer("head").get_weights()[1]
    np.testing.assert_allclose(np.abs(bias), rate, rtol=0.01)


def test_a_schedule_keeps_the_ratios(data):
    def rates(model):
        numbers = model.optimizer.multipliers
        return float(model.optimizer.learning_rate) * np.array(numbers)

    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    watch = Watch(rates)
    options = {
        "strategy": "layer_decay",
        "layer_decay": 0.5,
        "epochs": 3,
        "learning_rate": schedule,
    }
    tune(build(), data, batch_size=16, callbacks=[watch], **options)
    heads = np.array([each[-1] for each in watch.epochs])
    np.testing.assert_allclose(heads, [0.05, 0.025, 0.0125], rtol=1e-5)
    expected = np.repeat([1 / 8, 1 / 4, 1 / 2, 1], 2)
    for each in watch.epochs:
        np.testing.assert_allclose(each / each[-1], expected, rtol=1e-5)


def test_the_rate_falls_as_a_cosine_in_each_phase(data):
    tuned = tune(build(), data, epochs=4, learning_rate=0.01, freeze_epochs=2)
    found = [row["learning_rate"] for row in tuned.history]
    np.testing.assert_allclose(found, [0.005, 0.01, 0.005, 0.0], atol=1e-8)


@pytest.mark.parametrize("cache", ["memory", None])
def test_a_probe_leaves_every_bit_of_the_backbone(data, cache):
    backbone = build()
    before = weights(backbone.model)
    tuned = tune(backbone, data, strategy="linear_probe", epochs=3, cache=cache)
    assert same(before, weights(backbone.model)) == before.keys()
    assert {row["phase"] for row in tuned.history} == {"head"}
    assert tuned.history[-1]["loss"] < tuned.history[0]["loss"]


def test_gradual_leaves_every_bit_of_what_is_not_thawed_yet(data):
    backbone = build()
    before = weights(backbone.model)
    watch = Watch(lambda model: weights(backbone.model))
    options = {"strategy": "gradual_unfreezing", "epochs": 4, "learning_rate": 0.01}
    tuned = tune(backbone, data, callbacks=[watch], **options)
    phases = [row["phase"] for row in tuned.history]
    assert phases == ["head", "1 block", "2 blocks", "all"]
    for thawed, after in enumerate(watch.epochs):
        still = same(before, after)
        for number, group in enumerate(backbone.groups):
            convs = {path for path in group if path.startswith("conv")}
            assert (convs <= still) == (number < 3 - thawed)


@pytest.mark.parametrize(
    "strategy", ["full", "head_then_all", "gradual_unfreezing", "layer_decay"]
)
def test_frozen_statistics_do_not_move(data, strategy):
    backbone = build()
    before = weights(backbone.model)
    tune(backbone, data, strategy=strategy, epochs=4, learning_rate=0.01)
    norms = {path for path in before if path.startswith("norm")}
    moved = before.keys() - same(before, weights(backbone.model))
    assert len(norms) == 12
    assert not moved & norms
    assert {path for path in before if path.startswith("conv")} <= moved
    assert all(layer.trainable for layer in backbone.model.layers)


def test_update_moves_statistics_and_says_so(data):
    backbone = build()
    before = weights(backbone.model)
    with pytest.warns(UserWarning, match=r"From epoch 3 on, 3 Batch.*'update'"):
        tuned = tune(backbone, data, epochs=5, batchnorm="update", freeze_epochs=2)
    assert re.search(r"From epoch 3 on, 3 Batch.*'update'", tuned.notices[0])
    still = same(before, weights(backbone.model))
    assert not any("moving" in path for path in still)
    options = {"batchnorm": "update", "strategy": "gradual_unfreezing"}
    with pytest.warns(UserWarning, match="of frozen blocks too"):
        [notice] = tune(build(), data, epochs=4, **options).notices
    assert re.search(r"From epoch 2 on.*of frozen blocks too", notice)


def test_recalibrate_ends_with_the_exact_statistics(data):
    backbone = build()
    x = data[0]
    with pytest.warns(UserWarning, match="'recalibrate'"):
        tune(backbone, data, batchnorm="recalibrate", epochs=2)
    norm = backbone.model.get_layer("norm1")
    inputs = keras.Model(backbone.model.input, norm.input).predict(x, verbose=0)
    found = [keras.ops.convert_to_numpy(norm.moving_mean)]
    found.append(keras.ops.convert_to_numpy(norm.moving_variance))
    expected = [inputs.mean(axis=(0, 1, 2)), inputs.var(axis=(0, 1, 2))]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_same_seed_same_weights(data):
    first, again, other = (
        tune(build(), data, epochs=2, seed=seed).model.get_weights()
        for seed in (1, 1, 2)
    )
    for a, b in zip(first, again, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert not np.array_equal(first[-2], other[-2])


def test_the_model_is_saved_and_opened_in_plain_keras(data, tmp_path):
    tuned = tune(build(), data, data, epochs=40, learning_rate=0.1, batch_size=8)
    tuned.model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(
        again.predict(data[0], verbose=0), tuned.model.predict(data[0], verbose=0)
    )
    loss, accuracy = again.evaluate(*data, verbose=0)
    assert accuracy > 0.9
    best = min(row["val_loss"] for row in tuned.history if row["phase"] == "all")
    np.testing.assert_allclose(loss, best, rtol=1e-3)


class TestTasks:
    @pytest.mark.slow
    def test_one_hot_and_names_train_as_numbers_do(self, data):
        x, y = data
        names = np.array(["ant", "bee", "cat"])[y]
        results = [
            tune(build(), (x, labels), epochs=2, dropout=0.0)
            for labels in (y, names, np.eye(3)[y])
        ]
        assert results[1].class_names == ("ant", "bee", "cat")
        assert results[0].class_counts == {"0": 16, "1": 16, "2": 16}
        for other in results[1:]:
            for a, b in zip(
                results[0].model.get_weights(), other.model.get_weights(), strict=True
            ):
                np.testing.assert_allclose(a, b, atol=1e-5)

    def test_multi_label(self, data):
        x, y = data
        rows = np.stack([y > 0, y > 1], axis=1).astype(int)
        options = {"task": "multi_label", "class_names": ("some", "more")}
        tuned = tune(
            build(), (x, rows), epochs=40, learning_rate=0.1, batch_size=8, **options
        )
        p = tuned.model.predict(x, verbose=0)
        assert tuned.model.output_shape == (None, 2)
        assert ((p > 0.5) == rows).mean() > 0.9
        assert tuned.class_counts == {"some": 32, "more": 16}

    def test_regression(self, data):
        x, y = data
        tuned = tune(
            build(),
            (x, y * 2.0 - 1),
            task="regression",
            epochs=40,
            learning_rate=0.1,
            batch_size=8,
        )
        p = tuned.model.predict(x, verbose=0)[:, 0]
        assert np.corrcoef(p, y)[0, 1] > 0.9
        assert "mae" in tuned.history[0]

    def test_class_weights_shift_the_guesses(self, data):
        heavy = {0: 50.0, 1: 1.0, 2: 1.0}
        plain, weighted = (
            tune(
                build(),
                data,
                epochs=4,
                learning_rate=0.05,
                strategy="linear_probe",
                batch_size=8,
                class_weight=each,
            )
            for each in (None, heavy)
        )
        p, q = (
            each.model.predict(data[0], verbose=0)[:, 0].mean()
            for each in (plain, weighted)
        )
        assert q > p + 0.05

    def test_a_thousand_classes(self):
        x = np.zeros((2000, 4, 4, 1), "uint8")
        tuned = tune(build(), (x, np.arange(2000) % 1000), epochs=2, batch_size=500)
        assert tuned.model.output_shape == (None, 1000)
        assert len(tuned.class_counts) == 1000


class TestCache:
    def test_features_are_the_backbone_s(self, data):
        backbone = build().model
        found = extract(backbone, Arrays(*data))
        expected = backbone.predict(data[0], verbose=0)
        np.testing.assert_allclose(found.x, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found.y, data[1])

    @pytest.mark.parametrize("on_disk", [False, True])
    def test_what_did_not_change_is_not_computed_again(self, data, tmp_path, on_disk):
        cache = FeatureCache(tmp_path / "features" if on_disk else None)
        first = cache.get(build().model, Arrays(*data))
        if on_disk:
            cache = FeatureCache(tmp_path / "features")
            assert isinstance(first.x, np.memmap)
        passes = []
        backbone = build().model
        predict = backbone.predict_on_batch
        backbone.predict_on_batch = lambda x: passes.append(1) or predict(x)
        again = cache.get(backbone, Arrays(*data))
        np.testing.assert_array_equal(again.x, first.x)
        np.testing.assert_array_equal(again.y, first.y)
        assert not passes
        x, y = data
        others = [
            Arrays(x[:-1], y[:-1]),
            Arrays(255 - x, y),
            Arrays(x, (y + 1) % 3),
            Arrays(x, y, np.ones(48)),
        ]
        for number, other in enumerate(others, 1):
            cache.get(backbone, other)
            assert len(passes) == number
        flip = layers.RandomFlip("horizontal", seed=1)
        cache.get(backbone, Arrays(*data), augment=flip, views=2)
        assert len(passes) == 6
        backbone.set_weights([value + 1 for value in backbone.get_weights()])
        cache.get(backbone, Arrays(*data))
        assert len(passes) == 7

    def test_one_set_for_both_is_trained_on_in_the_batches_asked_for(self, data):
        """A cache gives the same arrays twice, and validation has larger batches."""
        options = {"strategy": "linear_probe", "epochs": 2, "batch_size": 8}
        shared = tune(build(), data, data, cache=FeatureCache(), **options)
        alone = tune(build(), data, data, **options)
        assert shared.history[-1]["loss"] == pytest.approx(alone.history[-1]["loss"])

    def test_other_preprocessing_is_another_key(self, data):
        cache = FeatureCache()
        inputs = keras.Input((4, 4, 1))
        found = []
        for scale in (1.0, 0.5):
            outputs = layers.Flatten()(layers.Rescaling(scale)(inputs))
            found.append(cache.get(keras.Model(inputs, outputs), Arrays(*data)).x)
        np.testing.assert_allclose(found[0], 2 * found[1])

    def test_views_are_of_changed_pictures(self, data):
        backbone = build(norm=False).model
        flip = layers.RandomFlip("horizontal", seed=1)
        found = extract(backbone, Arrays(*data), augment=flip, views=4)
        assert len(found) == 4 * 48
        np.testing.assert_array_equal(found.y, np.tile(data[1], 4))
        plain = backbone.predict(data[0], verbose=0)
        mirrored = backbone.predict(data[0][:, :, ::-1], verbose=0)
        views = found.x.reshape(4, 48, -1)
        as_is = np.isclose(views, plain, atol=1e-5).all(axis=-1)
        turned = np.isclose(views, mirrored, atol=1e-5).all(axis=-1)
        assert (as_is | turned).all()
        assert 0.3 < as_is.mean() < 0.7

    def test_a_stream_in_another_order_has_the_same_key(self, data, tmp_path):
        x, y = data
        order = np.random.default_rng(0).permutation(48)
        cache = FeatureCache(tmp_path)
        for places in (np.arange(48), order):
            stream = Stream(SeededBatches(x[places], y[places], 10))
            found = cache.get(build().model, stream)
            assert len(found) == 48
        assert len(list(tmp_path.iterdir())) == 1

    def test_a_half_written_cache_is_not_read(self, data, tmp_path):
        backbone = build().model
        predict, calls = backbone.predict_on_batch, []

        def killed(x):
            calls.append(1)
            if len(calls) == 1:
                raise KeyboardInterrupt
            return predict(x)

        backbone.predict_on_batch = killed
        with pytest.raises(KeyboardInterrupt):
            FeatureCache(tmp_path).get(backbone, Arrays(*data))
        assert not list(tmp_path.iterdir())
        found = FeatureCache(tmp_path).get(backbone, Arrays(*data))
        assert np.isfinite(found.x).all()

    def test_a_folder_for_fine_tune(self, data, tmp_path):
        options = {"epochs": 2, "strategy": "linear_probe"}
        first = tune(build(), data, cache=str(tmp_path), **options)
        again = tune(build(), data, cache=tmp_path, **options)
        assert len(list(tmp_path.iterdir())) == 1
        losses = [[row["loss"] for row in each.history] for each in (first, again)]
        np.testing.assert_allclose(*losses, rtol=1e-5)


class TestStreams:
    @pytest.mark.slow
    def test_arrays_py_dataset_and_tf_data_learn_alike(self, data):
        import tensorflow as tf

        x, y = data
        py_dataset = SeededBatches(x, y, 8)
        known = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(48).batch(8)
        unknown = known.filter(lambda x, y: True)
        for train in ((x, y), py_dataset, known, unknown):
            options = {
                "epochs": 20,
                "learning_rate": 0.1,
                "num_classes": 3,
                "batch_size": 8,
            }
            tuned = tune(build(), train, (x, y), **options)
            assert tuned.history[-1]["val_accuracy"] > 0.8
        tuned = tune(
            build(),
            unknown,
            known,
            num_classes=3,
            epochs=2,
            strategy="full",
            batch_size=7,
        )
        assert len(tuned.history) == 2

    @pytest.mark.slow
    def test_sample_weights_count(self, data):
        x, y = data
        weight = np.where(y == 0, 50.0, 1.0)
        stream = SeededBatches(x, y, 16, sample_weight=weight)
        found = []
        for train in ((x, y), (x, y, weight), stream):
            options = {
                "epochs": 4,
                "learning_rate": 0.05,
                "strategy": "linear_probe",
                "batch_size": 8,
            }
            tuned = tune(build(), train, num_classes=3, **options)
            found.append(tuned.model.predict(x, verbose=0)[:, 0].mean())
        assert min(found[1:]) > found[0] + 0.05

    def test_refused(self, data):
        import tensorflow as tf

        x, y = data
        stream = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
        for train, options, message in [
            (stream, {}, "Say by num_classes"),
            (stream.repeat(), {"num_classes": 3}, "leave out repeat"),
            (stream.take(0), {"num_classes": 3}, "stream is empty"),
            (stream.map(lambda x, y: x), {"num_classes": 3}, "brings no labels"),
            (
                stream,
                {"num_classes": 3, "class_weight": "balanced"},
                "can't be counted",
            ),
            (
                stream,
                {"num_classes": 3, "backup_dir": "c", "save_freq": 2},
                "BackupAndRestore",
            ),
            (x, {}, "Data must be"),
            ((x, y[:-1]), {}, r"same length, at least 1. Received: lengths=\[48, 47\]"),
            ((x[:0], y[:0]), {}, "at least 1"),
        ]:
            with pytest.raises(InputError, match=message):
                tune(build(), train, epochs=2, **options)


class TestBackbones:
    def test_any_model_with_any_number_of_axes(self, data):
        inputs = keras.Input((4, 4, 1))
        x = layers.Conv2D(3, 2, name="a")(layers.Rescaling(1 / 255)(inputs))
        maps = keras.Model(inputs, layers.Conv2D(5, 2, name="b")(x))
        before = weights(maps)
        tuned = tune(maps, data, strategy="gradual_unfreezing", epochs=3)
        assert tuned.model.output_shape == (None, 3)
        assert [row["phase"] for row in tuned.history] == ["head", "1 block", "all"]
        assert not same(before, weights(maps))

    def test_dicts_of_inputs(self, data):
        x, y = data
        inputs = {"a": keras.Input((4, 4, 1)), "b": keras.Input((2,))}
        flat = layers.Flatten()(layers.Rescaling(1 / 255)(inputs["a"]))
        outputs = layers.Dense(4)(layers.Concatenate()([flat, inputs["b"]]))
        backbone = keras.Model(inputs, outputs)
        both = {"a": x, "b": np.ones((48, 2), "float32")}
        tuned = tune(backbone, (both, y), (both, y), epochs=2)
        assert tuned.model.predict(both, verbose=0).shape == (48, 3)

    @pytest.mark.parametrize(
        ("backbone", "message"),
        [
            ("resnet", "Received: resnet"),
            (keras.Sequential([layers.Dense(2)]), "must be built"),
            (7, "an id, a Backbone or a keras.Model. Received: 7"),
        ],
    )
    def test_refused(self, data, backbone, message):
        with pytest.raises(InputError, match=message):
            tune(backbone, data)


class TestSpeed:
    def test_a_step_is_traced_once_a_phase(self, data, monkeypatch):
        """Where its variables are made while it is traced, TensorFlow traces it twice.

        So it does in Keras's own `fit` of the same model.
        """
        traced, step = [], keras.Model.train_step

        def count(model, *args):
            traced.append(model)
            return step(model, *args)

        monkeypatch.setattr(keras.Model, "train_step", count)
        model = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten()])
        model.add(layers.Dense(3, "softmax"))
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(*data, verbose=0)
        assert len(traced) == 2
        traced.clear()
        tune(build(), data, data, epochs=4, batch_size=16)
        assert len(traced) == 2
        assert len(set(map(id, traced))) == 2

    def test_a_callback_that_looks_at_batches_sees_each(self, data):
        """And what is learned is the same, whether batches run one by one or not."""
        seen = []
        look = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: seen.append(batch)
        )
        end = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
        options = {"strategy": "linear_probe", "epochs": 2, "batch_size": 16}
        watched = tune(build(), data, data, callbacks=[look], **options)
        assert seen == [0, 1, 2] * 2
        alone = tune(build(), data, data, callbacks=[end], **options)
        for a, b in zip(watched.history, alone.history, strict=True):
            assert a["loss"] == pytest.approx(b["loss"], rel=1e-6)
            assert a["val_loss"] == pytest.approx(b["val_loss"], rel=1e-6)


class TestOptions:
    def test_augment_is_trained_with_and_left_out_after(self, data):
        black = layers.Rescaling(0.0)  # what it lets through teaches nothing
        options = {"epochs": 8, "learning_rate": 0.1, "batch_size": 8}
        tuned = tune(build(), data, augment=black, **options)
        assert tuned.history[-1]["accuracy"] < 0.5
        plain = tune(build(), data, **options)
        assert plain.history[-1]["accuracy"] > 0.6
        assert layers.Rescaling not in map(type, tuned.model.layers)
        assert tuned.seconds.keys() == {"features", "head", "all"}

    def test_mixed_batches_are_convex_and_depend_on_epoch_and_place(self, data):
        x, y = data
        batches = SeededBatches(x, y, 16)
        mixed = Mixed(batches, Mix(3, True, mixup=0.4, cutmix=1.0), seed=5)
        mixed.set_epoch(2)
        first, again = mixed[1], mixed[1]
        for a, b in zip(first, again, strict=True):
            np.testing.assert_array_equal(a, b)
        images, rows = first
        assert images.shape == (16, 4, 4, 1) and rows.shape == (16, 3)
        np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-5)
        assert rows.min() >= 0
        assert not np.isin(rows, (0, 1)).all()
        mixed.set_epoch(3)
        assert not np.array_equal(mixed[1][0], images)

    @pytest.mark.parametrize("streamed", [False, True])
    def test_mixup_and_cutmix_train(self, data, streamed):
        import tensorflow as tf

        train = data
        if streamed:
            train = tf.data.Dataset.from_tensor_slices(data).batch(16)
        options = {
            "mixup": 0.2,
            "cutmix": 1.0,
            "label_smoothing": 0.1,
            "num_classes": 3,
        }
        tuned = tune(build(), train, data, epochs=3, learning_rate=0.01, **options)
        assert np.isfinite([row["val_loss"] for row in tuned.history]).all()

    def test_the_average_of_the_weights_is_what_is_kept(self, data):
        backbone = build(norm=False)

        class Batches(keras.callbacks.Callback):
            seen = []

            def on_train_batch_end(self, batch, logs=None):
                if keras.backend.backend() == "jax":
                    self.model.jax_state_sync()
                value = self.model.get_layer("head").get_weights()[0]
                self.seen.append(value)

        options = {
            "strategy": "full",
            "epochs": 2,
            "learning_rate": 0.05,
            "ema_momentum": 0.5,
        }
        seen = Batches()
        tuned = tune(backbone, data, callbacks=[seen], batch_size=16, **options)
        average = seen.seen[0]
        for value in seen.seen[1:]:
            average = 0.5 * average + 0.5 * value
        found = tuned.model.get_layer("head").get_weights()[0]
        np.testing.assert_allclose(found, average, rtol=1e-4, atol=1e-6)

    def test_accumulated_halves_are_a_whole(self, data, adam):
        adam(0.1)
        options = {
            "strategy": "full",
            "epochs": 2,
            "dropout": 0.0,
            "learning_rate": 0.01,
        }
        whole = tune(build(), data, batch_size=16, **options)
        halves = tune(
            build(), data, batch_size=8, gradient_accumulation_steps=2, **options
        )
        for a, b in zip(
            whole.model.get_weights(), halves.model.get_weights(), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        "mixed", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)]
    )
    def test_mixed_precision_computes_in_half_and_gives_back_whole(self, data, mixed):
        backbone = build()
        during = Watch(
            lambda model: {layer.compute_dtype for layer in backbone.model.layers}
        )
        tuned = tune(
            backbone,
            data,
            epochs=20,
            learning_rate=0.1,
            batch_size=8,
            cache=None,
            mixed_precision=mixed,
            callbacks=[during],
        )
        assert during.begin[0] == {mixed}
        assert {layer.compute_dtype for layer in backbone.model.layers} == {"float32"}
        assert tuned.model.predict(data[0], verbose=0).dtype == "float32"
        assert tuned.model.evaluate(*data, verbose=0)[1] > 0.8

    def test_tensorboard(self, data, tmp_path):
        tune(build(), data, epochs=2, log_dir=tmp_path)
        assert len(list(tmp_path.rglob("events.*"))) == 1

    def test_a_loss_that_is_not_a_number_stops(self, data):
        with pytest.raises(LossNotFinite, match="phase 'all'"):
            options = {"strategy": "full", "task": "regression", "learning_rate": 1e30}
            tune(build(norm=False), data, epochs=9, **options)


@pytest.mark.slow
@pytest.mark.parametrize("every", [None, 2])
def test_killed_and_called_again_it_ends_with_the_same_weights(data, tmp_path, every):
    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            kills.append(epoch)
            if len(kills) in (2, 5):
                raise KeyboardInterrupt

    def run(folder, callbacks):
        return tune(
            build(),
            data,
            data,
            epochs=4,
            batch_size=16,
            learning_rate=0.01,
            patience=50,
            backup_dir=tmp_path / folder,
            save_freq=every,
            callbacks=callbacks,
        )

    whole, kills = run("whole", []), []
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run("killed", [Kill()])
    again = run("killed", [Kill()])
    assert len(whole.history) == (4 if every is None else 6)
    pairs = zip(whole.model.get_weights(), again.model.get_weights(), strict=True)
    for a, b in pairs:
        np.testing.assert_array_equal(a, b)


DEVICES = """
import functools
import keras, numpy as np, sys
# With Adam's own, a gradient that is only rounding moves its weight by a whole step.
keras.optimizers.Adam = functools.partial(keras.optimizers.Adam, epsilon=0.1)
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
from keras import layers
from hornbook.zoo import fine_tune

def run(devices):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 1))
    x = layers.Conv2D(4, 2, name="a")(layers.Rescaling(1 / 255)(inputs))
    x = layers.BatchNormalization(name="n")(x)
    x = layers.Conv2D(4, 2, name="b")(layers.ReLU()(x))
    backbone = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (48, 4, 4, 1), dtype="uint8"), np.arange(48) % 3
    return fine_tune(
        backbone, (x, y), (x[:21], y[:21]), epochs=4, batch_size=16, learning_rate=0.01,
        dropout=0.0, strategy="gradual_unfreezing", devices=devices, steps_per_epoch=3,
    )

one, two = run(1), run(2)
gap = max(
    abs(a - b).max()
    for a, b in zip(one.model.get_weights(), two.model.get_weights(), strict=True)
)
rows = zip(one.history, two.history, strict=True)
print("gap", gap, max(abs(a["val_loss"] - b["val_loss"]) for a, b in rows))
try:
    run(3)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_train_as_one_does(backend):
    env = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    done = subprocess.run(
        [sys.executable, "-c", DEVICES], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr[-3000:]
    gap, refused = done.stdout.splitlines()[-2:]
    assert max(map(float, gap.split()[1:])) < 1e-5
    assert refused.startswith("InputError There are 2: ")
