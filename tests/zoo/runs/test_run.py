import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from hornbook.errors import InputError
from hornbook.zoo.runs import compare, run
from hornbook.zoo.runs import evaluate as use
from hornbook.zoo.runs.config import RunConfig
from hornbook.zoo.runs.load import load_run
from hornbook.zoo.runs.predict import predict_files
from hornbook.zoo.runs.records import FILES, read_config


@pytest.fixture(scope="module")
def npz(three_digits, tmp_path_factory):
    """The small task as a file."""
    dataset = three_digits()
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(
        path,
        x_train=dataset.train.images,
        y_train=dataset.train.labels,
        x_test=dataset.test.images,
        y_test=dataset.test.labels,
        classes=np.array(dataset.classes),
    )
    return path


def finished(npz, folder, **options):
    config = RunConfig.of({"data": f"npz:{npz}", "epochs": 2, **options})
    config, dataset = run.create(config, folder, command="hornbook finetune")
    metrics = run.execute(folder, config, dataset)
    return config, dataset, metrics


@pytest.fixture(scope="module")
def finished_run(npz, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "1"
    return folder, *finished(npz, folder)


def test_the_folder_holds_what_it_should(finished_run):
    folder, _, _, metrics = finished_run
    names = {path.name for path in folder.iterdir()}
    pictures = {"curves.png", "confusion.png", "mistakes.png"}
    assert names == {*FILES, *pictures, "state"}
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert np.sum(metrics["confusion"]) == metrics["counts"]["test"] == 60
    assert metrics["test"]["voted"]["correct"] == np.trace(metrics["confusion"])
    assert metrics["test"]["single"]["accuracy"] > 0.8
    assert metrics["stopping"] == "fixed budget"


def test_the_model_on_disk_scores_what_the_metrics_say(finished_run):
    folder, _, _, metrics = finished_run
    result = use.evaluate_run(folder)
    assert result["correct"] == metrics["test"]["voted"]["correct"]
    assert result["count"] == 60
    low, high = result["interval"]
    assert low < result["accuracy"] < high


def test_other_data_is_tested_on_whole_and_by_the_names_of_its_classes(
    finished_run, tmp_path
):
    folder, _, dataset, metrics = finished_run
    test = dataset.test
    chosen = test.labels != 1
    labels = np.where(test.labels[chosen] == 0, 1, 0)  # sorted the other way round
    arrays = {"x": test.images[chosen], "y": labels}
    np.savez(tmp_path / "two.npz", **arrays, classes=np.array(["two", "zero"]))
    result = use.evaluate_run(folder, f"npz:{tmp_path / 'two.npz'}")
    confusion = np.array(metrics["confusion"])
    assert result["count"] == chosen.sum()
    assert result["correct"] == confusion[0, 0] + confusion[2, 2]

    np.savez(tmp_path / "new.npz", **arrays, classes=np.array(["two", "three"]))
    with pytest.raises(InputError, match="does not know three; it knows zero, one"):
        use.evaluate_run(folder, f"npz:{tmp_path / 'new.npz'}")


def test_predictions_of_a_file_are_the_model_s(finished_run, tmp_path):
    from PIL import Image

    folder, _, dataset, _ = finished_run
    Image.fromarray(dataset.test.images[0]).save(tmp_path / "é 1.png")
    [result] = predict_files(folder, [tmp_path / "é 1.png"], top=2)
    model, _ = load_run(folder)
    p = model.predict(dataset.test.images[:1], verbose=0)[0]
    assert [each["class"] for each in result["top"]] == [
        dataset.classes[k] for k in np.argsort(-p)[:2]
    ]
    np.testing.assert_allclose(result["top"][0]["probability"], p.max(), atol=1e-5)


def test_without_views_it_opens_where_there_is_no_hornbook(npz, tmp_path):
    finished(npz, tmp_path / "run", test_crops="none")
    script = (
        "import sys; sys.modules['hornbook'] = None\n"
        "import keras, numpy\n"
        f"m = keras.models.load_model({str(tmp_path / 'run/model.keras')!r})\n"
        "print(m.predict(numpy.zeros((1, 50, 40, 3), 'uint8'), verbose=0).sum())"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    np.testing.assert_allclose(float(out.stdout.split()[-1]), 1, atol=1e-5)


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(npz, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        run.create(RunConfig.of({"data": f"npz:{npz}"}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_is_made_when_the_job_cannot_be_done(npz, tmp_path):
    for wrong in ({"labels_per_class": 1000}, {"backbone": "resnet"}):
        with pytest.raises(InputError):
            config = RunConfig.of({"data": f"npz:{npz}", **wrong})
            run.create(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_changed_data_is_not_resumed(npz, three_digits, tmp_path):
    own = tmp_path / "own.npz"
    own.write_bytes(npz.read_bytes())
    run.create(RunConfig.of({"data": f"npz:{own}"}), tmp_path / "run")
    with np.load(own) as arrays:
        changed = {**arrays, "x_train": 255 - arrays["x_train"]}
    np.savez(own, **changed)
    with pytest.raises(InputError, match="data has changed"):
        run.reopen(tmp_path / "run")


def test_missing_pieces_are_named(finished_run, tmp_path):
    import shutil

    folder = tmp_path / "run"
    with pytest.raises(InputError, match="no such run folder"):
        load_run(folder)
    folder.mkdir()
    with pytest.raises(InputError, match=r"no config\.json"):
        load_run(folder)
    (folder / "config.json").write_text('{"data":')
    with pytest.raises(InputError, match="can't be read"):
        load_run(folder)
    shutil.copy(finished_run[0] / "config.json", folder)
    with pytest.raises(
        InputError, match=r"lacks model\.keras, metrics\.json.*--resume"
    ):
        load_run(folder)


@pytest.mark.parametrize("seed", range(5))
def test_a_damaged_model_is_refused(finished_run, tmp_path, seed):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(finished_run[0], folder)
    data = bytearray((folder / "model.keras").read_bytes())
    rng = np.random.default_rng(seed)
    data[rng.integers(len(data) // 8, len(data) * 7 // 8)] ^= 0x10
    (folder / "model.keras").write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        load_run(folder)


def test_a_rate_that_is_found_is_recorded_and_gives_the_same_bits(npz, tmp_path):
    _, _, metrics = finished(npz, tmp_path / "auto", learning_rate="auto")
    assert read_config(tmp_path / "auto")["learning_rate"] == "auto"
    rate = metrics["learning_rate_found"]
    assert 1e-3 < rate < 0.3
    assert rate == float(f"{rate:.2g}")
    _, _, metrics = finished(npz, tmp_path / "number", learning_rate=rate)
    assert metrics["learning_rate_found"] is None
    found, given = (
        load_run(tmp_path / name)[0].get_weights() for name in ("auto", "number")
    )
    assert all(np.array_equal(a, b) for a, b in zip(found, given, strict=True))


def test_a_rate_that_is_too_high_keeps_a_good_model(npz, tmp_path):
    with pytest.raises(
        InputError, match=r"step \d+ of phase 'all'.*learning_rate=1e\+30"
    ):
        finished(npz, tmp_path / "run", learning_rate=1e30, backbone_lr_multiplier=1.0)
    model = keras.models.load_model(tmp_path / "run/last_good.keras")
    p = model.predict(np.zeros((1, 36, 36, 3), "uint8"), verbose=0)
    assert np.isfinite(p).all()
    assert not (tmp_path / "run/model.keras").exists()


def test_run_and_resume_do_all_of_it(npz, tmp_path):
    options = {"data": f"npz:{npz}", "strategy": "linear_probe", "epochs": 1}
    metrics = run.run(options | {"steps_per_epoch": 2}, tmp_path / "run")
    assert (tmp_path / "run/report.html").is_file()
    (tmp_path / "run/report.html").unlink()
    assert run.resume(tmp_path / "run") == json.loads(json.dumps(metrics))
    assert (tmp_path / "run/report.html").is_file()


def test_a_model_that_was_exchanged_is_refused(finished_run, tmp_path):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(finished_run[0], folder)
    model = keras.models.load_model(folder / "model.keras")
    model.set_weights([-value for value in model.get_weights()])
    model.save(folder / "model.keras")
    with pytest.raises(InputError, match="was changed or replaced"):
        load_run(folder)


def test_a_file_that_was_removed_after_the_end_is_not_promised_back(
    finished_run, tmp_path
):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(finished_run[0], folder)
    (folder / "model.keras").unlink()
    with pytest.raises(InputError, match=r"model\.keras has been removed since"):
        load_run(folder)


@pytest.mark.slow
def test_compare_goes_on_where_it_stopped_and_its_ensemble_is_the_mean(
    finished_run, monkeypatch
):
    folder, config, dataset, _ = finished_run
    calls = []
    train = compare.train_arm

    def stops_at_the_third(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*arguments, **options)

    monkeypatch.setattr(compare, "train_arm", stops_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        compare.compare_arms(folder, config, seeds=2)
    table = compare.compare_arms(folder, config, seeds=2)
    assert len(calls) == 2 * len(compare.ARMS) + 1
    rows = {arm["name"]: arm for arm in table["arms"]}
    for row in rows.values():
        np.testing.assert_allclose(row["mean"], np.mean(row["accuracies"]))
    members = [np.load(folder / f"compare/head_then_all-{seed}.npy") for seed in (0, 1)]
    right = (np.mean(members, axis=0).argmax(axis=1) == dataset.test.labels).mean()
    assert rows["ensemble"]["accuracies"] == [right]
