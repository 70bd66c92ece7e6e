import keras
import numpy as np
import pytest
from contract import check_config, numpy
from keras import layers
from scipy import special, stats

from hornbook.recipes.inference.ten_crop import TenCrop
from hornbook.recipes.inference.voting_model import MERGES, VotingModel

TENSORFLOW = keras.backend.backend() == "tensorflow"
RNG = np.random.default_rng(0)


@keras.saving.register_keras_serializable(package="tests")
def as_they_are(views):
    """Views that were made before, `(batch, views, ...)`."""
    return views


def echo(classes=4):
    """A classifier that returns its input, so that a test writes its answers."""
    return keras.Sequential([keras.Input((classes,)), layers.Identity()])


def merge(outputs, how, from_logits=False, **kwargs):
    outputs = np.asarray(outputs, "float32")
    model = echo(outputs.shape[-1])
    voter = VotingModel(model, as_they_are, how, from_logits=from_logits, **kwargs)
    return numpy(voter(outputs))


def classifier(activation="softmax", size=12, seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(6, 3, activation="relu", kernel_initializer="he_normal"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.5),
            layers.Dense(4, activation=activation, kernel_initializer="he_normal"),
        ]
    )


def photos(batch=3, size=17):
    return RNG.integers(0, 256, (batch, size, size, 3)).astype("uint8")


LOGITS = RNG.normal(0, 3, (6, 5, 4)).astype("float32")
PROBABILITIES = special.softmax(LOGITS, -1)


# The merges, against NumPy and SciPy.


@pytest.mark.parametrize("from_logits", [False, True])
def test_mean(from_logits):
    outputs = LOGITS if from_logits else PROBABILITIES
    np.testing.assert_allclose(
        merge(outputs, "mean", from_logits), PROBABILITIES.mean(1), atol=1e-6
    )


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("how", ["mean_logit", "geometric"])
def test_mean_logit_is_the_geometric_mean(how, from_logits):
    result = merge(LOGITS if from_logits else PROBABILITIES, how, from_logits)
    np.testing.assert_allclose(result, special.softmax(LOGITS.mean(1), -1), atol=1e-6)
    geometric = stats.gmean(PROBABILITIES, axis=1)
    geometric /= geometric.sum(-1, keepdims=True)
    np.testing.assert_allclose(result, geometric, atol=1e-6)


def test_a_zero_is_no_veto():
    votes = [[[0.0, 1.0]] + [[0.9, 0.1]] * 9]
    result = merge(votes, "geometric")
    assert np.isfinite(result).all() and result.argmax() == 0
    odds = (1e-7 * 0.9**9) ** 0.1 / (0.1**9) ** 0.1
    np.testing.assert_allclose(result, [[odds / (1 + odds), 1 / (1 + odds)]], rtol=1e-5)


@pytest.mark.parametrize("from_logits", [False, True])
def test_vote(from_logits):
    result = merge(LOGITS if from_logits else PROBABILITIES, "vote", from_logits)
    shares = np.stack([(LOGITS.argmax(-1) == c).mean(1) for c in range(4)], -1)
    np.testing.assert_allclose(result, shares, atol=1.01e-4)
    np.testing.assert_allclose(result.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("from_logits", [False, True])
def test_rank(from_logits):
    outputs = LOGITS.round() if from_logits else PROBABILITIES.round(1)  # makes ties
    assert any(len(set(row)) < 4 for row in outputs.reshape(-1, 4).tolist())
    ranks = stats.rankdata(outputs, axis=-1).mean(1)
    result = merge(outputs, "rank", from_logits)
    np.testing.assert_allclose(result, ranks / 10, atol=1e-6)
    np.testing.assert_allclose(result.sum(-1), 1, atol=1e-6)


def test_rank_of_many_tied_classes():
    outputs = RNG.integers(0, 30, (2, 3, 200)) / 30
    ranks = stats.rankdata(outputs.astype("float32"), axis=-1).mean(1)
    np.testing.assert_allclose(merge(outputs, "rank"), ranks / (100 * 201), rtol=1e-5)


def test_logits_that_saturate_keep_their_order():
    """As probabilities all but the first would be zero, and tied."""
    outputs = [[[0, -200, -300, -400]] * 2]
    np.testing.assert_allclose(
        merge(outputs, "rank", True), [[0.4, 0.3, 0.2, 0.1]], rtol=1e-6
    )


def test_mean_vote_and_rank_disagree():
    """One sure view makes the mean, two first places the vote, always second the rank.

    Ranks, best 4: class 0 has 2 + 1 + 4 + 2, class 1 has 4 + 4 + 1 + 1, class 2 has
    3 + 3 + 3 + 3, class 3 has 1 + 2 + 2 + 4.
    """
    views = [
        [0.25, 0.30, 0.28, 0.17],
        [0.17, 0.30, 0.28, 0.25],
        [0.97, 0.005, 0.015, 0.01],
        [0.25, 0.17, 0.28, 0.30],
    ]
    mean, vote, rank = (merge([views], how)[0] for how in ("mean", "vote", "rank"))
    assert (mean.argmax(), vote.argmax(), rank.argmax()) == (0, 1, 2)
    np.testing.assert_allclose(vote, [0.25, 0.5, 0, 0.25], atol=1.01e-4)
    np.testing.assert_allclose(rank, np.array([9, 10, 12, 9]) / 40, rtol=1e-6)


def test_a_tied_vote_goes_to_the_mean():
    close = [[0.0, 0.60000, 0.40000], [0.0, 0.39999, 0.60001]]
    assert merge([close], "vote").argmax() == 2
    first = [[0.0, 0.60001, 0.39999], [0.0, 0.40000, 0.60000]]
    assert merge([first], "vote").argmax() == 1
    # The most probable class on the whole has no vote, so it cannot win.
    loser = [[0.55, 0.0, 0.45], [0.0, 0.55, 0.45]]
    assert merge([loser], "mean").argmax() == 2
    assert merge([loser], "vote").argmax() == 0


def test_a_full_tie_goes_to_the_first_class():
    assert merge([[[0, 0.6, 0.4], [0, 0.4, 0.6]]], "vote").argmax() == 1
    # A view whose highest are equal votes for the first of them.
    vote = merge([[[0.4, 0.4, 0.2]]], "vote")
    np.testing.assert_allclose(vote, [[1, 0, 0]], atol=1e-6)


def test_mean_of_sigmoids_is_not_normalised():
    outputs = RNG.uniform(size=(2, 3, 4))
    np.testing.assert_allclose(merge(outputs, "mean"), outputs.mean(1), atol=1e-6)
    for how in set(MERGES) - {"mean"}:
        np.testing.assert_allclose(merge(outputs, how).sum(-1), 1, atol=1e-6)


# The model.


@pytest.mark.parametrize("flips", [True, False])
def test_equals_the_mean_of_predictions_on_crops(flips):
    model, x = classifier(), photos()
    voter = VotingModel(model, TenCrop(12, 12, flips=flips))
    crops = [x[:, :12, :12], x[:, :12, 5:], x[:, 5:, :12], x[:, 5:, 5:]]
    crops += [x[:, 2:14, 2:14]]
    if flips:
        m = x[:, :, ::-1]
        crops += [m[:, :12, :12], m[:, :12, 5:], m[:, 5:, :12], m[:, 5:, 5:]]
        crops += [m[:, 2:14, 2:14]]
    expected = np.mean([model.predict(crop, verbose=0) for crop in crops], axis=0)
    np.testing.assert_allclose(numpy(voter(x)), expected, atol=1e-6)
    np.testing.assert_allclose(voter.predict(x, verbose=0), expected, atol=1e-6)


@pytest.mark.parametrize("views_per_batch", [1, 3, 10, 11])
def test_views_per_batch(views_per_batch):
    model, x = classifier(None), photos()
    every = VotingModel(model, TenCrop(12, 12), views_per_batch=None)
    turns = VotingModel(model, TenCrop(12, 12), views_per_batch=views_per_batch)
    np.testing.assert_allclose(numpy(turns(x)), numpy(every(x)), atol=1e-6)


def test_one_view_at_once_is_the_default():
    assert VotingModel(classifier(), TenCrop(12, 12)).views_per_batch == 1


def test_views_per_batch_in_predict_with_and_without_xla():
    model, x = classifier(None), photos()
    expected = numpy(VotingModel(model, TenCrop(12, 12))(x))
    turns = VotingModel(model, TenCrop(12, 12), views_per_batch=4)
    for jit_compile in (True, False):
        turns.compile(jit_compile=jit_compile and keras.backend.backend() != "torch")
        predicted = turns.predict(x, batch_size=2, verbose=0)
        np.testing.assert_allclose(predicted, expected, atol=1e-6)


class Spy(layers.Layer):
    """Notes how many examples go through at once."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def call(self, x):
        if isinstance(x.shape[0], int):  # not while a model is built
            self.seen.add(x.shape[0])
        return x


@pytest.mark.parametrize(("views_per_batch", "batch"), [(None, 30), (4, 12)])
def test_views_per_batch_bounds_the_batch(views_per_batch, batch):
    spy = Spy()
    model = keras.Sequential([spy, classifier()])
    model.build((None, 12, 12, 3))
    spy.seen.clear()
    VotingModel(model, TenCrop(12, 12), views_per_batch=views_per_batch)(photos())
    assert spy.seen == {batch}


def test_nan_for_one_image_leaves_the_others():
    outputs = PROBABILITIES.copy()
    outputs[2] = np.nan
    result = merge(outputs, "mean", views_per_batch=2)
    assert np.isnan(result[2]).all()
    rest = np.arange(6) != 2
    np.testing.assert_allclose(result[rest], PROBABILITIES[rest].mean(1), atol=1e-6)


@pytest.mark.parametrize("views_per_batch", [None, 4])
@pytest.mark.parametrize("how", MERGES)
def test_empty_batch(how, views_per_batch):
    crops = TenCrop(12, 12)
    voter = VotingModel(classifier(), crops, how, views_per_batch=views_per_batch)
    assert numpy(voter(photos()[:0])).shape == (0, 4)
    if TENSORFLOW:
        import tensorflow as tf

        voter = VotingModel(echo(), as_they_are, how, False, views_per_batch)
        graph = tf.function(voter, [tf.TensorSpec((None, 5, 4))])
        assert graph(PROBABILITIES[:0]).shape == (0, 4)
        np.testing.assert_allclose(graph(PROBABILITIES), voter(PROBABILITIES), 1e-5)


@pytest.mark.parametrize(
    ("activation", "expected"), [("softmax", False), ("sigmoid", False), (None, True)]
)
def test_from_logits_is_read_from_the_last_activation(activation, expected):
    sequential = classifier(activation)
    inputs = keras.Input((12, 12, 3))
    nested = keras.Model(inputs, sequential(layers.Rescaling(2)(inputs)))
    branches = [layers.Flatten()(inputs), layers.GlobalMaxPooling2D()(inputs)]
    outputs = layers.Dense(4, activation)(layers.Concatenate()(branches))
    functional = keras.Model(inputs, outputs)
    for model in (sequential, nested, functional):
        voter = VotingModel(model, TenCrop(12, 12))
        assert voter.from_logits is expected
        check_config(voter)
        assert VotingModel(model, TenCrop(12, 12), from_logits=True).from_logits is True


@pytest.mark.parametrize("last", [layers.Softmax(), layers.Activation("softmax")])
def test_a_softmax_layer_gives_probabilities(last):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4), last])
    voter = VotingModel(model, as_they_are)
    assert voter.from_logits is False
    assert VotingModel(voter, as_they_are).from_logits is False


@pytest.mark.parametrize(
    "last", [layers.Identity(), layers.Activation("linear"), layers.Dense(4, "relu")]
)
def test_from_logits_must_be_given_where_it_cannot_be_told(last):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, "softmax"), last])
    with pytest.raises(ValueError, match="pass `from_logits=True` or `False`"):
        VotingModel(model, as_they_are)
    assert VotingModel(model, as_they_are, from_logits=False).from_logits is False


def test_compile_evaluate_predict():
    voter = VotingModel(classifier(), TenCrop(12, 12), "vote")
    x = photos(7)
    y = RNG.integers(0, 4, 7)
    voter.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    result = voter.evaluate(x, y, batch_size=3, verbose=0, return_dict=True)
    predicted = voter.predict(x, batch_size=3, verbose=0)
    np.testing.assert_allclose(predicted, numpy(voter(x)), atol=1e-6)
    np.testing.assert_allclose(result["accuracy"], (predicted.argmax(-1) == y).mean())


def test_images_of_several_sizes_are_refused():
    voter = VotingModel(classifier(), TenCrop(12, 12))
    mixed = [photos(1, 13), photos(1, 15)]
    message = "several sizes must be cropped or resized to one size.*Received: "
    with pytest.raises(ValueError, match=message):
        voter(mixed)
    with pytest.raises(ValueError, match=message):
        voter.predict(mixed, verbose=0)
    # As well when it was built by images of one size.
    voter = VotingModel(classifier(), TenCrop(12, 12))
    voter(mixed[0])
    with pytest.raises(ValueError, match=message):
        voter(mixed)


def test_values_keep_their_range():
    """uint8 is what the same floats are; what is scaled twice is not what it was."""
    voter = VotingModel(classifier(), TenCrop(12, 12))
    x = photos()
    np.testing.assert_allclose(numpy(voter(x)), numpy(voter(x * 1.0)), atol=1e-6)
    assert np.abs(numpy(voter(x)) - numpy(voter(x / 255))).max() > 1e-3


def test_training_is_refused():
    voter = VotingModel(classifier(), TenCrop(12, 12))
    voter.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"for inference\. Received: training=True"):
        voter.fit(photos(), np.zeros(3, "int32"), verbose=0)
    with pytest.raises(ValueError, match="Received: training=True"):
        voter(photos(), training=True)


@pytest.mark.parametrize(
    ("how", "views_per_batch"), [("mean", None), ("vote", 4), ("rank", None)]
)
def test_save_load_export(how, views_per_batch, tmp_path):
    crops = TenCrop(12, 12)
    voter = VotingModel(classifier(None), crops, how, views_per_batch=views_per_batch)
    x = photos().astype("float32")
    expected = numpy(voter(x))
    check_config(voter)
    voter.save(tmp_path / "voter.keras")
    again = keras.models.load_model(tmp_path / "voter.keras")
    assert again.from_logits is True and again.views_per_batch == views_per_batch
    np.testing.assert_allclose(numpy(again(x)), expected, atol=1e-6)
    if TENSORFLOW:
        import tensorflow as tf

        again.export(tmp_path / "export", verbose=False)
        exported = tf.saved_model.load(tmp_path / "export")
        np.testing.assert_allclose(exported.serve(x), expected, atol=1e-6)
        np.testing.assert_allclose(exported.serve(x[:1]), expected[:1], atol=1e-6)
        compiled = tf.function(voter, jit_compile=True)
        np.testing.assert_allclose(compiled(x), expected, atol=1e-5)


def test_export_of_raw_images(tmp_path):
    """Raw images of any size go in; the first call of the model does not matter."""
    voter = VotingModel(classifier(), TenCrop(12, 12), views_per_batch=5)
    x = photos()
    expected = numpy(voter(x))
    if TENSORFLOW:
        import tensorflow as tf

        spec = keras.InputSpec("uint8", (None, None, None, 3))
        voter.export(tmp_path, verbose=False, input_signature=[spec])
        exported = tf.saved_model.load(tmp_path)
        np.testing.assert_allclose(exported.serve(x), expected, atol=1e-6)
        assert exported.serve(photos(2, 30)).shape == (2, 4)
    else:
        inputs = keras.Input((None, None, 3), dtype="uint8")
        np.testing.assert_allclose(
            numpy(keras.Model(inputs, voter(inputs))(x)), expected, atol=1e-6
        )


def test_views_with_weights_are_saved(tmp_path):
    views = keras.Sequential([layers.Dense(3), TenCrop(12, 12, flips=False)])
    voter = VotingModel(classifier(), views)
    x = photos().astype("float32")
    expected = numpy(voter(x))
    voter.save(tmp_path / "voter.keras")
    again = keras.models.load_model(tmp_path / "voter.keras")
    np.testing.assert_allclose(numpy(again(x)), expected, atol=1e-6)


def test_views_may_be_a_registered_function(tmp_path):
    voter = VotingModel(echo(), as_they_are, from_logits=False)
    expected = numpy(voter(PROBABILITIES))
    voter.save(tmp_path / "voter.keras")
    again = keras.models.load_model(tmp_path / "voter.keras")
    assert again.views is as_they_are
    np.testing.assert_allclose(numpy(again(PROBABILITIES)), expected, atol=1e-6)


def test_an_unbuilt_classifier_is_built():
    model = keras.Sequential([layers.Flatten(), layers.Dense(4)])
    voter = VotingModel(model, TenCrop(12, 12), views_per_batch=3)
    assert voter(photos()).shape == (3, 4)
    assert model.built and model.layers[-1].kernel.shape == (432, 4)


@pytest.mark.parametrize("views_per_batch", [None, 4])
def test_inside_a_functional_model_of_unknown_image_size(views_per_batch):
    """Larger crops than the sizes that Keras tries in place of unknown ones."""
    voter = VotingModel(
        classifier(size=100), TenCrop(100, 100), views_per_batch=views_per_batch
    )
    inputs = keras.Input((None, None, 3), dtype="uint8")
    outputs = voter(inputs)
    assert outputs.shape == (None, 4) and outputs.dtype == "float32"
    x = photos(1, 104)
    np.testing.assert_allclose(
        numpy(keras.Model(inputs, outputs)(x)), numpy(voter(x)), atol=1e-6
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        voters = [
            VotingModel(classifier(activation), TenCrop(12, 12), "mean", None, step)
            for activation in ("softmax", None)
            for step in (None, 4)
        ]
    finally:
        keras.config.set_dtype_policy(before)
    for voter in voters:
        result = voter(photos())
        assert keras.backend.standardize_dtype(result.dtype) == "float32"
        np.testing.assert_allclose(numpy(result).sum(-1), 1, atol=1e-2)


def test_bad_arguments():
    model = classifier()
    with pytest.raises(ValueError, match="Received: merge=median"):
        VotingModel(model, TenCrop(12, 12), merge="median")
    with pytest.raises(ValueError, match="Received: views_per_batch=0"):
        VotingModel(model, TenCrop(12, 12), views_per_batch=0)
    with pytest.raises(ValueError, match=r"Received: output_shape=\(None, 1\)"):
        merge(np.ones((2, 3, 1)), "mean")
    pixels = keras.Sequential([keras.Input((12, 12, 3)), layers.Dense(4, "softmax")])
    with pytest.raises(ValueError, match=r"output_shape=\(None, 12, 12, 4\)"):
        VotingModel(pixels, TenCrop(12, 12))(photos())
