import json

import keras
import numpy as np
import pytest
from contract import numpy
from keras import layers
from runs import config_lines, write_run
from scipy import stats

from hornbook.errors import InputError
from hornbook.zoo.data.arrays.decode import shrink
from hornbook.zoo.finetune.head import build_head
from hornbook.zoo.finetune.inference_model import build_inference_model
from hornbook.zoo.runs import evaluate as use
from hornbook.zoo.runs.ensemble import open_ensemble
from hornbook.zoo.runs.load import load_run

CLASSES = ["ant", "bee", "cat"]
RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (40, 36, 36, 3)).astype("uint8")
LABELS = RNG.integers(0, 3, 40)


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "noise.npz"
    parts = {"x_train": PICTURES[:9], "y_train": np.arange(9) % 3}
    tests = {"x_test": PICTURES, "y_test": LABELS}
    np.savez(path, **parts, **tests, classes=np.array(CLASSES))
    return f"npz:{path}"


def make_run(folder, npz, seed, classes=CLASSES, crop=32, channels=3, crops="five"):
    """A finished run folder, but for the training."""
    keras.utils.set_random_seed(seed)
    backbone = keras.Sequential(
        [
            keras.Input((crop, crop, channels)),
            layers.Rescaling(1 / 127.5, -1),
            layers.Conv2D(5, 3, strides=4, activation="relu"),
            layers.Flatten(),
        ]
    )
    head = build_head(backbone.output_shape[-1], len(classes))
    inputs = keras.Input((crop, crop, channels))
    classifier = keras.Model(inputs, head(backbone(inputs)))
    folder.mkdir()
    model = build_inference_model(classifier, crop + 4, crops, "mean")
    model.save(folder / "model.keras")
    shape = {"picture_size": crop + 4, "image_size": crop, "channels": channels}
    options = {"data": npz, "test_crops": crops}
    return write_run(folder, config_lines(options, class_names=classes, **shape))


@pytest.fixture(scope="module")
def runs(npz, tmp_path_factory):
    """Of two input sizes; the last has its classes in another order."""
    root = tmp_path_factory.mktemp("runs")
    return [
        make_run(root / "1", npz, 1),
        make_run(root / "2", npz, 2, crop=24, crops="none"),
        make_run(root / "3", npz, 3, ["cat", "ant", "bee"], crops="ten"),
    ]


def members(runs, pictures):
    """What each run says, its classes in the order of the first."""
    models = [load_run(run)[0] for run in runs]
    outputs = [model.predict(pictures, verbose=0) for model in models]
    outputs[2] = outputs[2][:, [1, 2, 0]]
    return np.stack(outputs)


@pytest.mark.parametrize("weights", [None, [3, 1, 2]])
@pytest.mark.parametrize("size", [36, 61])
def test_it_is_the_mean_of_what_the_runs_say(runs, weights, size):
    pictures = RNG.integers(0, 256, (4, size, size + 5, 3)).astype("uint8")
    model = open_ensemble(runs, weights=weights)
    expected = np.average(members(runs, pictures), axis=0, weights=weights)
    np.testing.assert_allclose(model.predict(pictures, verbose=0), expected, atol=1e-6)
    # Called outside a graph on TensorFlow, `Resizing` rounds to whole grey levels.
    np.testing.assert_allclose(numpy(model(pictures)), expected, atol=5e-3)


def test_ranks_and_a_file(runs, tmp_path):
    model = open_ensemble(runs, "rank")
    assert model.input.dtype == "uint8"
    assert model.input_shape == (None, None, None, 3)
    model.save(tmp_path / "ensemble.keras")
    again = keras.models.load_model(tmp_path / "ensemble.keras")
    ranks = stats.rankdata(members(runs, PICTURES), axis=-1).mean(0) / 6
    np.testing.assert_allclose(again.predict(PICTURES, verbose=0), ranks, atol=1e-6)


def test_evaluate_compares_the_ensemble_with_each_run(runs, npz):
    result = use.evaluate_runs(runs, ensemble=True, weights=[1, 1, 2])
    assert (result["data"], result["count"]) == (npz, 40)
    outputs = members(runs, PICTURES)
    right = outputs.argmax(-1) == LABELS
    voted = np.average(outputs, 0, [1, 1, 2]).argmax(-1) == LABELS
    assert [run["run"] for run in result["runs"]] == [str(run) for run in runs]
    assert [run["correct"] for run in result["runs"]] == right.sum(1).tolist()
    assert result["ensemble"]["correct"] == voted.sum()
    assert result["ensemble"]["weights"] == [1, 1, 2]
    for run, before in zip(result["runs"], right, strict=True):
        gain = run["ensemble_gain"]
        assert gain["wrong_to_right"] == (~before & voted).sum()
        assert gain["right_to_wrong"] == (before & ~voted).sum()
        low, high = run["interval"]
        assert low < run["accuracy"] < high
    assert json.loads(json.dumps(result)) == result
    alone = use.evaluate_runs(runs)
    assert alone["ensemble"] is None
    assert [run["correct"] for run in alone["runs"]] == right.sum(1).tolist()
    assert "ensemble_gain" not in alone["runs"][0]
    single = use.evaluate_run(runs[2])
    assert single == {
        "data": npz,
        "count": 40,
        **{key: alone["runs"][2][key] for key in ("correct", "accuracy", "interval")},
    }


def test_runs_of_one_task_are_tested_on_what_none_trained_on(npz, tmp_path):
    """`--data` with the data of one run: its training examples stay out."""
    other = tmp_path / "other.npz"
    np.savez(other, x=PICTURES, y=LABELS, classes=np.array(CLASSES))
    runs = [
        make_run(tmp_path / "1", npz, 1),
        make_run(tmp_path / "2", f"npz:{other}", 2),
    ]
    with pytest.raises(InputError, match="of different data; say by --data"):
        use.evaluate_runs(runs)
    held_out = use.evaluate_runs(runs[1:])["count"]
    assert held_out < 40
    assert use.evaluate_runs(runs, f"npz:{other}")["count"] == held_out
    assert use.evaluate_runs(runs, npz)["count"] == 40


def test_smaller_runs_shrink_the_pictures_themselves(runs, npz):
    """All see the same pictures, as large as the largest wants them."""
    result = use.evaluate_runs(runs[:2])
    small, config = load_run(runs[1])
    assert config["picture_size"] == 28
    assert (
        result["runs"][1]["correct"]
        == (small.predict(PICTURES, verbose=0).argmax(-1) == LABELS).sum()
    )
    shrunk = np.stack([shrink(picture, 28) for picture in PICTURES])
    np.testing.assert_allclose(
        small.predict(shrunk, verbose=0),
        small.predict(PICTURES, verbose=0),
        atol=0.02,
    )


def test_runs_that_cannot_vote_together(runs, npz, tmp_path):
    grey = make_run(tmp_path / "grey", npz, 4, channels=1)
    other = make_run(tmp_path / "other", npz, 5, ["ant", "bee", "dog"])
    with pytest.raises(InputError, match=r"grey have 1\."):
        open_ensemble([runs[0], grey])
    with pytest.raises(InputError, match="other has ant, bee, dog"):
        open_ensemble([runs[0], other])
    with pytest.raises(InputError, match=r"has ant, bee, cat; .*other has"):
        use.evaluate_runs([runs[0], other])
    with pytest.raises(InputError, match="only once"):
        open_ensemble([runs[0], runs[0]])
    with pytest.raises(InputError, match="two runs or more"):
        use.evaluate_runs(runs[:1], ensemble=True)
    with pytest.raises(InputError, match="no such run folder"):
        open_ensemble([runs[0], tmp_path / "nowhere"])
    (other / "metrics.json").unlink()
    with pytest.raises(InputError, match=r"lacks metrics\.json"):
        use.evaluate_runs([other])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"merge": "median"}, "Received: merge=median"),
        ({"weights": [1, 2]}, r"3 numbers.*Received: weights=\[1, 2\]"),
        ({"weights": [1, -1, 1]}, r"Received: weights=\[1, -1, 1\]"),
        ({"weights": [0, 0, 0]}, r"Received: weights=\[0, 0, 0\]"),
        ({"weights": [1, float("nan"), 1]}, r"Received: weights=\[1, nan, 1\]"),
    ],
)
def test_bad_arguments(runs, arguments, message):
    with pytest.raises(InputError, match=message):
        open_ensemble(runs, **arguments)
