import keras
import numpy as np
import pytest
from contract import numpy
from keras import ops

from hornbook.recipes.optimizers.weight_decay_mask import weight_decay_mask

RATE, DECAY = 0.1, 0.5


def model_of_everything():
    """Attention, recurrence, norms and slopes whose vectors are not all of rank 1."""
    words = keras.Input((4,), dtype="int32")
    x = keras.layers.Embedding(10, 6, name="embedding")(words)
    x = keras.layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = keras.layers.LayerNormalization(axis=(1, 2), name="norm")(x)
    x = keras.layers.RMSNormalization(axis=(1, 2), name="rms")(x)
    x = keras.layers.PReLU(name="prelu")(x)
    x = keras.layers.GRU(3, name="gru")(x)
    x = keras.layers.BatchNormalization(name="batch_norm")(x)
    return keras.Model(words, keras.layers.Dense(2, name="head")(x))


def small_model():
    layers = [keras.layers.Dense(4, name="a"), keras.layers.BatchNormalization()]
    block = keras.Sequential([keras.Input((3,)), *layers], name="block")
    return keras.Sequential([block, keras.layers.Dense(2, name="b")])


def fill(model):
    """Gives every trainable weight values that decay could be seen on."""
    rng = np.random.default_rng(0)
    for v in model.trainable_variables:
        v.assign(rng.normal(size=v.shape))
    return [numpy(v).copy() for v in model.trainable_variables]


def test_lists_biases_norms_and_slopes():
    model = model_of_everything()
    chosen = weight_decay_mask(model)
    names = {"bias", "gamma", "beta", "scale", "alpha"}
    assert {v.name for v in chosen} == names
    ids = {id(v) for v in chosen}
    left = [v.name for v in model.trainable_variables if id(v) not in ids]
    assert sorted(left) == sorted(
        ["embeddings"] + ["kernel"] * 6 + ["recurrent_kernel"]
    )
    # A rule by rank alone would decay these.
    ranks = {v.path: len(v.shape) for v in chosen if len(v.shape) > 1}
    assert sorted(ranks.values()) == [2] * 8
    assert {path.partition("/")[0] for path in ranks} == {
        "attention",
        "norm",
        "rms",
        "prelu",
        "gru",
    }


def test_adamw_leaves_them_exactly_and_decays_the_rest():
    model = model_of_everything()
    before = fill(model)
    optimizer = keras.optimizers.AdamW(RATE, weight_decay=DECAY)
    optimizer.exclude_from_weight_decay(var_list=weight_decay_mask(model))
    variables = model.trainable_variables
    for _ in range(3):
        optimizer.apply([ops.zeros(v.shape) for v in variables], variables)
    for v, old in zip(variables, before, strict=True):
        if v.name in ("bias", "gamma", "beta", "scale", "alpha"):
            np.testing.assert_array_equal(numpy(v), old)
        else:
            np.testing.assert_allclose(numpy(v), old * (1 - RATE * DECAY) ** 3, 1e-6)


def factors(model, optimizer):
    """By what `fit` multiplies each weight where the loss has no gradient."""
    before = fill(model)
    model.compile(optimizer, loss=lambda y, y_pred: 0.0 * y_pred)
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    return {
        f"{v.path.split('/')[-2]}/{v.name}": (numpy(v) / old).mean()
        for v, old in zip(model.trainable_variables, before, strict=True)
    }


def decayed(found):
    for factor in found.values():
        assert min(abs(factor - 1), abs(factor - (1 - RATE * DECAY))) < 1e-6
    return {path for path, factor in found.items() if factor < 0.99}


def test_through_fit():
    model = small_model()
    optimizer = keras.optimizers.AdamW(RATE, weight_decay=DECAY)
    optimizer.exclude_from_weight_decay(var_list=weight_decay_mask(model))
    found = factors(model, optimizer)
    assert decayed(found) == {"a/kernel", "b/kernel"}
    assert {v for path, v in found.items() if "kernel" not in path} == {1.0}


def test_without_it_everything_decays():
    model = small_model()
    optimizer = keras.optimizers.AdamW(RATE, weight_decay=DECAY)
    assert len(decayed(factors(model, optimizer))) == 6


def test_a_loss_scale_optimizer_must_be_told_inside():
    model = small_model()
    inner = keras.optimizers.AdamW(RATE, weight_decay=DECAY)
    inner.exclude_from_weight_decay(var_list=weight_decay_mask(model))
    found = factors(model, keras.optimizers.LossScaleOptimizer(inner))
    assert decayed(found) == {"a/kernel", "b/kernel"}

    inner = keras.optimizers.AdamW(RATE, weight_decay=DECAY)
    outer = keras.optimizers.LossScaleOptimizer(inner)
    outer.exclude_from_weight_decay(var_list=weight_decay_mask(model))
    assert len(decayed(factors(model, outer))) == 6


def test_is_lost_when_a_model_is_saved(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="b")])
    optimizer = keras.optimizers.AdamW(RATE, weight_decay=DECAY)
    optimizer.exclude_from_weight_decay(var_list=weight_decay_mask(model))
    model.compile(optimizer, "mse")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")

    variables = again.trainable_variables

    def shrinkage():
        old = fill(again)
        again.optimizer.apply([ops.zeros(v.shape) for v in variables], variables)
        return [(numpy(v) / w).mean() for v, w in zip(variables, old, strict=True)]

    assert shrinkage() == pytest.approx([0.95, 0.95], rel=1e-6)
    again.optimizer.exclude_from_weight_decay(var_list=weight_decay_mask(again))
    assert shrinkage() == pytest.approx([0.95, 1.0], rel=1e-6)


def test_frozen_weights_are_not_listed():
    model = small_model()
    model.layers[0].trainable = False
    (bias,) = weight_decay_mask(model)
    assert bias is model.layers[1].bias


def test_refuses_what_is_not_built():
    with pytest.raises(ValueError, match="Received: model="):
        weight_decay_mask(keras.Sequential([keras.layers.Dense(2)]))
