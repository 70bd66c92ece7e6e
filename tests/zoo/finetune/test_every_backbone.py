"""Every family of backbones, cut, fine-tuned, saved and opened again."""

import keras
import numpy as np
import pytest

from hornbook.recipes.inference.recalibrate_batchnorm import recalibrate_batchnorm
from hornbook.zoo import fine_tune
from hornbook.zoo.backbones import open_backbone
from hornbook.zoo.backbones.keras_applications import ARCHITECTURES, FAMILIES
from hornbook.zoo.finetune.checks import STRATEGIES

SMALL = {"inception_v3": 75, "inception_resnet_v2": 75, "xception": 71}
QUICK = ("mobilenet", "mobilenet_v3")


def first_of(family):
    """The id of a family's smallest architecture."""
    return next(name for name, (other, _) in ARCHITECTURES.items() if other == family)


@pytest.mark.parametrize(
    "family",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in FAMILIES
    ],
)
def test_each_strategy_takes_its_steps(family, tmp_path):
    side = SMALL.get(family, 32)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (4, side, side, 3), dtype="uint8")
    y = np.arange(4) % 2
    strategies = ("gradual_unfreezing",) if family in QUICK else STRATEGIES
    backbone = open_backbone(
        f"keras/{first_of(family)}", input_shape=(side, side, 3), weights=None
    )
    norms = {
        weight.path
        for layer in backbone.model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
        for weight in layer.weights
    }
    if norms:  # The statistics they begin with let nothing through random weights.
        recalibrate_batchnorm(backbone.model, x)
    start = backbone.model.get_weights()
    for strategy in strategies:
        # From what another has trained, the loss may be 0, and nothing learns from it.
        backbone.model.set_weights(start)
        before = {v.path: np.array(v) for v in backbone.model.variables}
        tuned = fine_tune(
            backbone,
            (x, y),
            strategy=strategy,
            epochs=2,
            steps_per_epoch=1,
            batch_size=4,
            jit_compile=False,
            random_crop=False,
        )
        after = {v.path: np.array(v) for v in backbone.model.variables}
        still = {path for path in before if np.array_equal(before[path], after[path])}
        if strategy == "linear_probe":
            assert still == before.keys()
        else:
            assert norms <= still
            assert backbone.groups[0][0] in before.keys() - still
        assert np.isfinite([row["loss"] for row in tuned.history]).all()
    p = tuned.model.predict(x, verbose=0)
    tuned.model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), p)
    keras.utils.clear_session()


def test_text_from_a_folder_that_keras_hub_wrote(tmp_path):
    import keras_hub

    keras.utils.set_random_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += ["good", "bad", "film", "food", "the", "a", "was", "is"]
    tokenizer = keras_hub.tokenizers.BertTokenizer(vocabulary=words)
    body = keras_hub.models.BertBackbone(
        vocabulary_size=len(words),
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=8,
    )
    body.save_to_preset(str(tmp_path / "bert"))
    tokenizer.save_to_preset(str(tmp_path / "bert"))
    texts = [
        f"the {what} was {how}" for what in ("film", "food") for how in ("good", "bad")
    ]
    x, y = np.array(texts * 4), np.array([0, 1, 0, 1] * 4)
    backbone = open_backbone(f"hub:{tmp_path / 'bert'}")
    tuned = fine_tune(
        backbone,
        (x, y),
        (x, y),
        strategy="full",
        backbone_lr_multiplier=1.0,
        epochs=20,
        batch_size=4,
        learning_rate=3e-3,
        steps_per_epoch=4,
        dropout=0.0,
    )
    assert tuned.history[-1]["val_accuracy"] == 1
    tokens = tuned.preprocess(["a film is bad", "a food is good"])
    assert tuned.model.predict(tokens, verbose=0).argmax(axis=1).tolist() == [1, 0]
