from dataclasses import replace

import keras
import numpy as np
import pytest

from hornbook.errors import InputError
from hornbook.zoo.backbones.shipped_weights import load_backbone
from hornbook.zoo.finetune.arms import ARMS, Arm, Phase, head_then_all
from hornbook.zoo.finetune.head import build_head
from hornbook.zoo.finetune.inference_model import (
    build_classifier,
    build_inference_model,
)
from hornbook.zoo.finetune.train import (
    LossNotFinite,
    build_view,
    cache_features,
    cache_views,
    find_rate,
    make_deterministic,
    train_arm,
)

BACKBONE = "glyphnet.letters_rgb"


def train(arm, dataset, epochs=2, seed=0, **options):
    return train_arm(
        arm, dataset, BACKBONE, epochs=epochs, batch_size=32, seed=seed, **options
    )


def backbone_weights(trained):
    layer = trained.classifier.get_layer("glyphnet")
    return {v.path: keras.ops.convert_to_numpy(v) for v in layer.variables}


def test_cached_features_are_the_backbone_s_of_each_crop(three_digits):
    images = three_digits().train.images
    backbone = load_backbone(BACKBONE)
    features = cache_features(backbone, images, at_most=len(images) * 9)
    assert features.shape == (len(images), 9, 128)
    corner = backbone.predict(images[:, 4:36, 2:34], verbose=0)
    np.testing.assert_allclose(features[:, 7], corner, rtol=1e-4, atol=1e-5)


def test_views_are_crops_that_a_preset_changes(three_digits):
    images = three_digits().train.images
    plain = build_view("none", 32)(images, np.random.default_rng(0))
    changed = build_view("digits", 32)(images, np.random.default_rng(0))
    again = build_view("digits", 32)(images, np.random.default_rng(0))
    assert plain.shape == changed.shape == (len(images), 32, 32, 3)
    np.testing.assert_array_equal(changed, again)
    moved = np.abs(changed - plain).mean(axis=(1, 2, 3))
    assert len(np.unique(moved)) == len(images)
    assert moved.min() > 1
    # Each is nearer to its own picture than to its neighbour's.
    own, other = (
        [
            np.corrcoef(a.ravel(), b.ravel())[0, 1]
            for a, b in zip(changed, crops, strict=True)
        ]
        for crops in (plain, np.roll(plain, 1, axis=0))
    )
    assert np.mean(own) > np.mean(other) + 0.3


def test_cached_views_are_the_backbone_s_of_each_view(three_digits):
    images = three_digits().train.images
    backbone = load_backbone(BACKBONE)
    view = build_view("light", 32)
    features = cache_views(backbone, images, view, seed=3)
    assert features.shape == (len(images), 25, 128)
    crops = view(images, np.random.default_rng([3, 2]))
    expected = backbone.predict(crops, verbose=0)
    np.testing.assert_allclose(features[:, 2], expected, rtol=1e-4, atol=1e-4)


def test_an_augmented_run_repeats_and_differs_from_a_plain_one(three_digits):
    first, again, plain = (
        train(ARMS["thaw"], three_digits(), augment=preset)
        for preset in ("digits", "digits", "none")
    )
    losses = [[row["loss"] for row in each.history] for each in (first, again, plain)]
    assert losses[0] == losses[1] != losses[2]


def test_a_probe_learns_and_leaves_the_backbone_as_it_was(three_digits):
    trained = train(ARMS["probe"], three_digits())
    before = {v.path: np.array(v) for v in load_backbone(BACKBONE).variables}
    after = backbone_weights(trained)
    assert len(after) == len(before)
    for path, value in after.items():
        np.testing.assert_array_equal(value, before[path])
    assert trained.history[-1]["accuracy"] > 0.9
    assert {row["phase"] for row in trained.history} == {"head"}


def test_head_first_then_all_moves_everything(three_digits):
    trained = train(ARMS["thaw"], three_digits(), epochs=3)
    before = {v.path: np.array(v) for v in load_backbone(BACKBONE).variables}
    for path, value in backbone_weights(trained).items():
        assert not np.array_equal(value, before[path]), path
    phases = [row["phase"] for row in trained.history]
    assert phases == ["head", "all", "all"]
    assert [row["epoch"] for row in trained.history] == [1, 2, 3]


def test_from_scratch_does_not_start_from_the_shipped_weights(three_digits):
    # One step of Adam moves no weight by more than about the rate.
    arm = Arm("", 1e-6, (Phase("all", 1, 1, 1),), pretrained=False)
    shipped = load_backbone(BACKBONE).get_weights()[0]
    kernel = train(arm, three_digits(), epochs=1).classifier.get_weights()[0]
    assert abs(kernel - shipped).max() > 0.1


def test_same_seed_same_bits_other_seed_other_bits(three_digits):
    arm = head_then_all(head_share=0.5)
    first, again, other = (
        train(arm, three_digits(), seed=seed).classifier.get_weights()
        for seed in (3, 3, 4)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[-1], other[-1])


def test_early_stopping_keeps_the_best_weights(three_digits):
    dataset = three_digits(validation=True)
    trained = train(ARMS["probe"], dataset, epochs=12)
    losses = [row["val_loss"] for row in trained.history]
    crops = dataset.validation.images[:, 2:34, 2:34]
    model = trained.classifier
    model.compile(loss="sparse_categorical_crossentropy")
    kept = model.evaluate(crops, dataset.validation.labels, verbose=0)
    np.testing.assert_allclose(kept, min(losses), rtol=1e-4)


def test_the_rate_falls_as_a_cosine_of_the_head_s_rate(three_digits):
    trained = train(ARMS["probe"], three_digits(), epochs=4)
    rates = [row["learning_rate"] for row in trained.history]
    expected = ARMS["probe"].rate * (1 + np.cos(np.pi * np.arange(1, 5) / 4)) / 2
    np.testing.assert_allclose(rates, expected, atol=1e-6)


def test_the_rate_is_found_on_the_training_examples_alone(three_digits):
    dataset = three_digits(validation=True)
    rate = find_rate(dataset, BACKBONE, 32, seed=0)
    assert 1e-3 < rate < 0.3
    assert rate == float(f"{rate:.2g}")
    blind = replace(dataset, test=None, validation=None)
    assert find_rate(blind, BACKBONE, 32, seed=0) == rate


def test_a_loss_that_never_falls_has_no_rate(three_digits, monkeypatch):
    class Flat:
        rates, steepest = [], None

    monkeypatch.setattr(
        "hornbook.zoo.finetune.train.find_learning_rate", lambda *_, **__: Flat
    )
    with pytest.raises(InputError, match=r"give a number\. Received: data=three"):
        find_rate(three_digits(), BACKBONE, 32, seed=0)


def test_a_loss_that_is_not_a_number_stops_and_sets_back(three_digits):
    with pytest.raises(
        LossNotFinite, match=r"(nan|inf) by step \d+ of phase 'all'"
    ) as e:
        arm = head_then_all(backbone_rate=1, rate=1e30, head_share=0.01)
        train(arm, three_digits(), epochs=2)
    weights = e.value.classifier.get_weights()
    assert all(np.isfinite(w).all() for w in weights)


def test_the_inference_model_model_infers_when_it_is_called():
    """Keras's picture layers train by default, and so would all that follows them."""
    keras.utils.set_random_seed(0)
    head = build_head(128, 10)
    classifier = build_classifier(load_backbone("glyphnet.letters_rgb"), head)
    model = build_inference_model(classifier, 36, "none", "mean")
    pictures = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), dtype="uint8")
    before = model.get_weights()
    called = keras.ops.convert_to_numpy(model(pictures))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    predicted = model.predict(pictures, verbose=0)
    np.testing.assert_allclose(called, predicted, atol=0.01)


def test_the_inference_model_model_takes_raw_pictures(three_digits, tmp_path):
    dataset = three_digits()
    make_deterministic(0)
    classifier = train(ARMS["probe"], dataset, epochs=1).classifier
    big = np.repeat(np.repeat(dataset.test.images[:4], 2, axis=1), 2, axis=2)
    for views in ("none", "five", "ten"):
        model = build_inference_model(classifier, 36, views, "mean")
        model.save(tmp_path / "m.keras")
        again = keras.models.load_model(tmp_path / "m.keras")
        assert model.input.dtype == "uint8"
        stored = again.predict(dataset.test.images[:4], verbose=0)
        np.testing.assert_allclose(stored.sum(axis=1), 1, atol=1e-5)
        if views == "none":
            crops = dataset.test.images[:4, 2:34, 2:34]
            expected = classifier.predict(crops, verbose=0)
            np.testing.assert_allclose(stored, expected, atol=1e-5)
        # Each pixel doubled, then halved again: the same picture.
        np.testing.assert_allclose(again.predict(big, verbose=0), stored, atol=0.15)
