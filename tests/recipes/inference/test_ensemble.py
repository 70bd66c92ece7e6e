import ast
from pathlib import Path

import keras
import numpy as np
import pytest
from contract import check_config, numpy
from keras import layers, ops
from scipy import special, stats

from hornbook.recipes.inference import ensemble as ensemble_file
from hornbook.recipes.inference import voting_model as voting_model_file
from hornbook.recipes.inference.ensemble import MERGES, Ensemble
from hornbook.recipes.inference.ten_crop import TenCrop
from hornbook.recipes.inference.voting_model import VotingModel

TENSORFLOW = keras.backend.backend() == "tensorflow"
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (6, 5, 4)).astype("float32")  # (examples, members, classes)
PROBABILITIES = special.softmax(LOGITS, -1)


@keras.saving.register_keras_serializable(package="tests")
class Member(layers.Layer):
    """Returns its own part of the input, so that a test writes the answers."""

    def __init__(self, index, **kwargs):
        super().__init__(**kwargs)
        self.index = index

    def call(self, x):
        return x[:, self.index]

    def get_config(self):
        return {**super().get_config(), "index": self.index}


def merge(outputs, how, from_logits=False, weights=None):
    outputs = np.asarray(outputs, "float32")
    shape = outputs.shape[1:]
    members = [
        keras.Sequential([keras.Input(shape), Member(i)]) for i in range(shape[0])
    ]
    return numpy(Ensemble(members, how, weights, from_logits)(outputs))


def classifier(activation="softmax", units=5, seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(units, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.5),
            layers.Dense(4, activation, kernel_initializer="he_normal", name="head"),
        ],
        name="member",
    )


def photos(batch=3):
    return RNG.integers(0, 256, (batch, 8, 8, 3)).astype("uint8")


def test_the_copies_of_the_merging_code_are_equal():
    """Each recipe stands alone, so both hold it: what one learns, the other must."""

    def shared(module):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        return [
            ast.unparse(node)
            for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.Assign))
        ]

    assert shared(ensemble_file) == shared(voting_model_file)
    assert len(shared(ensemble_file)) == 4


# The merges, with weights. `test_voting_model.py` has their other cases.


@pytest.mark.parametrize("weights", [None, [1, 2, 3, 4, 0]])
@pytest.mark.parametrize("from_logits", [False, True])
def test_merges(from_logits, weights):
    outputs = LOGITS if from_logits else PROBABILITIES
    shares = np.full(5, 0.2) if weights is None else np.array(weights) / 10
    geometric = stats.gmean(PROBABILITIES, axis=1, weights=shares[None, :, None])
    geometric /= geometric.sum(-1, keepdims=True)
    votes = np.eye(4)[LOGITS.argmax(-1)]
    ranks = stats.rankdata(LOGITS, axis=-1) / 10
    expected = {
        "mean": np.average(PROBABILITIES, 1, shares),
        "mean_logit": special.softmax(np.average(LOGITS, 1, shares), -1),
        "geometric": geometric,
        "vote": np.average(votes, 1, shares),
        "rank": np.average(ranks, 1, shares),
    }
    assert set(expected) == set(MERGES)
    for how, truth in expected.items():
        result = merge(outputs, how, from_logits, weights)
        atol = 1.01e-4 if how == "vote" else 1e-6
        np.testing.assert_allclose(result, truth, atol=atol, err_msg=how)
        np.testing.assert_allclose(result.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("how", MERGES)
def test_members_with_logits_beside_members_with_probabilities(how):
    is_logits = [True, False, False, True, True]
    mixed = np.where(np.reshape(is_logits, (-1, 1)), LOGITS, PROBABILITIES)
    result = merge(mixed, how, is_logits)
    np.testing.assert_allclose(result, merge(LOGITS, how, True), atol=1e-6)


def test_a_weighted_tie_goes_to_the_mean():
    """0.1 + 0.2 is not 0.3 in floating point, and yet a tie."""
    answers = [[0.6, 0.4], [0.6, 0.4], [0.3, 0.7]]
    result = merge([answers], "vote", weights=[1, 2, 3])
    assert result.argmax() == 1
    answers[2] = [0.45, 0.55]
    assert merge([answers], "vote", weights=[1, 2, 3]).argmax() == 0


@pytest.mark.parametrize("how", MERGES)
def test_a_weight_of_two_is_a_member_twice(how):
    twice = np.concatenate([LOGITS, LOGITS[:, :1]], axis=1)
    np.testing.assert_allclose(
        merge(LOGITS, how, True, weights=[2, 1, 1, 1, 1]),
        merge(twice, how, True),
        atol=1e-6,
    )


# The model.


def test_one_member_is_that_member():
    model, x = classifier(), photos()
    np.testing.assert_allclose(
        numpy(Ensemble([model])(x)), numpy(model(x, training=False)), atol=1e-6
    )


def test_members_of_one_architecture_and_name(tmp_path):
    members = [classifier(seed=seed) for seed in range(3)]
    x, y = photos(7), RNG.integers(0, 4, 7)
    expected = np.mean([m.predict(x, verbose=0) for m in members], axis=0)
    assert len({m.name for m in members}) == 1
    ensemble = Ensemble(members)
    np.testing.assert_allclose(numpy(ensemble(x)), expected, atol=1e-6)
    ensemble.compile(
        "sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    ensemble.save(tmp_path / "ensemble.keras")
    again = keras.models.load_model(tmp_path / "ensemble.keras")
    for model in (ensemble, again):
        predicted = model.predict(x, batch_size=3, verbose=0)
        np.testing.assert_allclose(predicted, expected, atol=1e-6)
        result = model.evaluate(x, y, batch_size=3, verbose=0, return_dict=True)
        accuracy = (expected.argmax(-1) == y).mean()
        np.testing.assert_allclose(result["accuracy"], accuracy)


def different_members():
    """Three architectures, one at another image size, one that gives logits."""
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(3, 3, strides=2, name="conv")(layers.Resizing(15, 13)(x))
    functional = keras.Model(inputs, layers.Dense(4, name="head")(layers.Flatten()(x)))
    voter = VotingModel(
        keras.Sequential(
            [
                keras.Input((6, 6, 3)),
                layers.Flatten(),
                layers.Dense(4, "softmax", kernel_initializer="zeros"),
            ]
        ),
        TenCrop(6, 6),
    )
    return [classifier(units=7), functional, voter]


def test_members_of_different_architectures(tmp_path):
    members, x = different_members(), photos()
    outputs = [numpy(m(x, training=False)) for m in members]
    outputs[1] = special.softmax(outputs[1], -1)
    ensemble = Ensemble(members, weights=[3, 2, 1])
    assert ensemble.from_logits == [False, True, False]
    expected = np.average(outputs, 0, [3, 2, 1])
    np.testing.assert_allclose(numpy(ensemble(x)), expected, atol=1e-6)
    check_config(ensemble)
    ensemble.save(tmp_path / "ensemble.keras")
    again = keras.models.load_model(tmp_path / "ensemble.keras")
    np.testing.assert_allclose(numpy(again(x)), expected, atol=1e-6)
    if TENSORFLOW:
        import tensorflow as tf

        spec = keras.InputSpec("uint8", (None, 8, 8, 3))
        again.export(tmp_path / "export", verbose=False, input_signature=[spec])
        exported = tf.saved_model.load(tmp_path / "export")
        np.testing.assert_allclose(exported.serve(x), expected, atol=1e-6)
        np.testing.assert_allclose(exported.serve(x[:1]), expected[:1], atol=1e-6)
        compiled = tf.function(ensemble, jit_compile=True)
        np.testing.assert_allclose(compiled(x), expected, atol=1e-5)


def test_crops_of_an_ensemble_of_unknown_image_size():
    ensemble = Ensemble([classifier(seed=1), classifier(None, seed=2)])
    voter = VotingModel(ensemble, TenCrop(8, 8), views_per_batch=3)
    assert voter.from_logits is False
    inputs = keras.Input((None, None, 3), dtype="uint8")
    outputs = voter(inputs)
    assert outputs.shape == (None, 4) and outputs.dtype == "float32"
    x = RNG.integers(0, 256, (2, 9, 11, 3)).astype("uint8")
    crops = numpy(TenCrop(8, 8)(x)).reshape(20, 8, 8, 3)
    expected = numpy(ensemble(crops)).reshape(2, 10, 4).mean(1)
    np.testing.assert_allclose(
        numpy(keras.Model(inputs, outputs)(x)), expected, atol=1e-6
    )


@pytest.mark.parametrize("how", MERGES)
def test_empty_batch(how):
    ensemble = Ensemble([classifier(seed=1), classifier(seed=2)], how)
    assert numpy(ensemble(photos()[:0])).shape == (0, 4)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        ensemble = Ensemble([classifier(None, seed=1), classifier(seed=2)])
    finally:
        keras.config.set_dtype_policy(before)
    result = ensemble(photos())
    assert keras.backend.standardize_dtype(result.dtype) == "float32"
    np.testing.assert_allclose(numpy(result).sum(-1), 1, atol=1e-2)
    half = Ensemble([classifier(seed=1)], dtype="float16")
    assert keras.backend.standardize_dtype(half(photos()).dtype) == "float16"


def test_training_is_refused():
    ensemble = Ensemble([classifier(seed=1), classifier(seed=2)])
    ensemble.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"for inference\. Received: training=True"):
        ensemble.fit(photos(), np.zeros(3, "int32"), verbose=0)


def test_members_may_not_share_layers():
    model = classifier()
    with pytest.raises(ValueError, match="must not share layers"):
        Ensemble([model, model])
    body = keras.Sequential([keras.Input((3,)), layers.Dense(5)])
    heads = [keras.Sequential([body, layers.Dense(4)]) for _ in range(2)]
    with pytest.raises(ValueError, match="must not share layers"):
        Ensemble(heads)


def test_unbuilt_members_are_built():
    members = [keras.Sequential([layers.Flatten(), layers.Dense(4)]) for _ in "ab"]
    assert Ensemble(members)(ops.ones((2, 3, 5))).shape == (2, 4)
    assert all(m.layers[-1].kernel.shape == (15, 4) for m in members)


def test_members_must_have_the_same_classes():
    members = [
        keras.Sequential([keras.Input((3,)), layers.Dense(classes)])
        for classes in (4, 5)
    ]
    with pytest.raises(ValueError, match=r"output_shapes=\[\(None, 4\), \(None, 5\)\]"):
        Ensemble(members)(ops.ones((2, 3)))
    one = keras.Sequential([keras.Input((3,)), layers.Dense(1, "sigmoid")])
    with pytest.raises(ValueError, match=r"Received: output_shape=\(None, 1\)"):
        Ensemble([one])(ops.ones((2, 3)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"merge": "median"}, "Received: merge=median"),
        ({"weights": [1]}, r"Received: weights=\[1\.0\]"),
        ({"weights": [1, -1]}, r"Received: weights=\[1\.0, -1\.0\]"),
        ({"weights": [0, 0]}, r"Received: weights=\[0\.0, 0\.0\]"),
        ({"weights": [1, float("nan")]}, r"Received: weights=\[1\.0, nan\]"),
        ({"weights": [1, float("inf")]}, r"Received: weights=\[1\.0, inf\]"),
        ({"from_logits": [True]}, r"Received: from_logits=\[True\]"),
    ],
)
def test_bad_arguments(arguments, message):
    members = [classifier(seed=1), classifier(seed=2)]
    with pytest.raises(ValueError, match=message):
        Ensemble(members, **arguments)


def test_from_logits_must_be_given_where_it_cannot_be_told():
    odd = keras.Sequential([classifier(), layers.Identity()])
    with pytest.raises(ValueError, match="pass `from_logits=True` or `False`"):
        Ensemble([classifier(), odd])
    with pytest.raises(ValueError, match="must not be empty"):
        Ensemble([])
