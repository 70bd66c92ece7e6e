"""`hornbook finetune`, `evaluate` and `predict`, as a user's shell runs them."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

HORNBOOK = [sys.executable, "-m", "hornbook"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of pictures that a glance tells apart."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name, colour in {"rot": (200, 30, 30), "grün": (30, 200, 30)}.items():
        (root / name).mkdir()
        for i in range(11):
            picture = rng.normal(colour, 25, (40, 48, 3)).clip(0, 255).astype("uint8")
            Image.fromarray(picture).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory, shell):
    out = tmp_path_factory.mktemp("runs") / "1"
    done = shell(
        *("finetune", "--data", f"folder:{folder}", "--epochs", 2, "--out", out)
    )
    assert done.returncode == 0, done.stderr
    return out, done


def test_it_says_what_it_does_and_where_the_report_is(finished):
    out, done = finished
    assert done.stdout.strip() == f"Report: {out / 'report.html'}"
    assert "2 classes" in done.stderr
    assert "fixed budget" in done.stderr
    assert "Test accuracy" in done.stderr
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "grün" in page


def test_predict_and_evaluate_use_it(finished, folder, command):
    out, _ = finished
    picture = folder / "rot" / "3.png"
    told = command("predict", out, picture, "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)[0]["top"][0]["class"] == "rot"
    assert command("predict", out, picture).stdout.startswith(f"{picture}: rot ")
    told = command("evaluate", out, "--data", f"folder:{folder}", "--json")
    assert json.loads(told.stdout)["accuracy"] > 0.9, told.stderr


@pytest.fixture(scope="module")
def second(finished, tmp_path_factory):
    """The same run under another name, as an ensemble's second member."""
    import shutil

    return shutil.copytree(finished[0], tmp_path_factory.mktemp("runs") / "2")


def test_evaluate_runs_and_their_ensemble(finished, second, folder, command):
    out, _ = finished
    told = command("evaluate", out, second, "--ensemble", "--merge", "vote", "--json")
    result = json.loads(told.stdout)
    assert [run["run"] for run in result["runs"]] == [str(out), str(second)]
    assert result["ensemble"]["merge"] == "vote"
    assert result["ensemble"]["correct"] == result["runs"][0]["correct"]
    assert result["runs"][1]["ensemble_gain"]["wrong_to_right"] == 0
    told = command("evaluate", out, second, "--ensemble", "--weights", "2,1")
    data, first, other, ensemble, *against = told.stdout.splitlines()
    assert data == f"folder:{folder}:"
    assert first.startswith(f"{out}: ") and other.startswith(f"{second}: ")
    assert ensemble.startswith("ensemble, merged by mean: ")
    assert [line.partition(": ")[2][:19] for line in against] == [
        "0 corrected and 0 b"
    ] * 2
    assert len(command("evaluate", out, second).stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--merge", "vote"], "are for --ensemble"),
        (["--weights", "1"], "are for --ensemble"),
        (["--ensemble", "--weights", "1;2"], "Received: 1;2"),
        (["--ensemble"], "no such run folder. Received: nowhere"),
    ],
)
def test_wrong_evaluations_are_one_sentence_and_exit_2(arguments, message, command):
    done = command("evaluate", "nowhere", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_finished_run_resumes_to_itself(finished, command):
    out, _ = finished
    before = (out / "model.keras").read_bytes()
    done = command("finetune", "--resume", out)
    assert done.returncode == 0, done.stderr
    assert (out / "model.keras").read_bytes() == before


def test_flags_reach_the_training(folder, tmp_path, command):
    lines = [f"{path},{path.parent.name}" for path in sorted(folder.rglob("*.png"))]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines]))
    out = tmp_path / "run"
    options = {
        "--data": f"csv:{tmp_path / 'list.csv'}",
        "--strategy": "gradual_unfreezing",
        "--batchnorm": "frozen",
        "--label-smoothing": "0.1",
        "--mixed-precision": "bfloat16",
        "--epochs": "3",
        "--out": out,
    }
    done = command("finetune", *(each for pair in options.items() for each in pair))
    assert done.returncode == 0, done.stderr
    assert "Training examples: grün 9, rot 9." in done.stderr
    config = json.loads((out / "config.json").read_text())
    metrics = json.loads((out / "metrics.json").read_text())
    assert (config["strategy"], config["label_smoothing"]) == (
        "gradual_unfreezing",
        0.1,
    )
    assert list(metrics["epochs_run"]) == ["head", "1 block", "all"]
    assert metrics["test"]["single"]["accuracy"] > 0.9
    assert "1 block" in (out / "report.html").read_text(encoding="utf-8")
    told = command("predict", out, folder / "rot" / "3.png", "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)[0]["top"][0]["class"] == "rot"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "folder:nowhere"], "nowhere"),
        (["--data", "csv:nowhere.csv"], "The file does not exist"),
        (["--strategy", "fast"], "one of head_then_all, linear_probe, full"),
        (["--batchnorm", "live"], "one of frozen, update, recalibrate"),
        (["--strategy", "linear_probe", "--batchnorm", "update"], "frozen where the"),
        (["--label-smoothing", "2"], "a number from 0 to 1"),
        (["--mixed-precision", "half"], "one of float16, bfloat16"),
        (["--devices", "999"], "Received: devices=999"),
        (["--data", "pictures"], "folder:"),
        (["--data", "folder:.", "--backbone", "resnet"], "Received: resnet"),
        (["--learning-rate", "-1"], "Received: learning_rate=-1"),
        (["--learning-rate", "fast"], "Received: learning_rate=fast"),
        (["--class-weight", "x=2"], "Received: 'x'"),
        (["--rate", "1"], "it is --learning-rate. Received: --rate"),
        (["--views=ten"], "it is --test-crops or --cached-views. Received: --views"),
        (["--no-random-crop", "--test-crops", "five"], "test_crops must be none"),
        (["--settings", "nowhere.json"], "those that ship are autogluon"),
        (["--resume", "nowhere"], "no such run folder"),
        (["--resume", "nowhere", "--learning-rate", "1"], "leave out --learning-rate"),
        (["--resume", "nowhere", "--settings", "autogluon"], "leave out --settings"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_2(tmp_path, arguments, message, command):
    done = command("finetune", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_bad_files_are_listed_and_can_be_skipped(folder, tmp_path, command):
    import shutil

    spoilt = tmp_path / "spoilt"
    shutil.copytree(folder, spoilt)
    (spoilt / "rot" / "empty.png").write_bytes(b"")
    whole = (spoilt / "rot" / "1.png").read_bytes()
    (spoilt / "rot" / "half.png").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "run"
    arguments = ["finetune", "--data", f"folder:{spoilt}", "--epochs", 2, "--out", out]
    done = command(*arguments)
    assert done.returncode == 2
    assert "empty.png" in done.stderr
    assert "half.png" in done.stderr
    assert not out.exists()
    done = command(*arguments, "--skip-unreadable")
    assert done.returncode == 0, done.stderr
    assert "half.png" in done.stderr
    assert "half.png" in (out / "report.html").read_text(encoding="utf-8")


def test_the_rate_can_be_found(folder, tmp_path, command):
    out = tmp_path / "run"
    data = ["--data", f"folder:{folder}"]
    arguments = [*data, "--epochs", 2, "--learning-rate", "auto", "--out", out]
    done = command("finetune", *arguments)
    assert done.returncode == 0, done.stderr
    config = json.loads((out / "config.json").read_text())
    assert config["learning_rate"] == "auto"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["learning_rate_found"] > 0
    assert "learning_rate" in (out / "report.html").read_text(encoding="utf-8")


def killed_and_resumed(folder, out, kills, rng):
    """Runs a job, kills it at random moments, and resumes it until it ends."""
    arguments = [
        "finetune",
        "--data",
        f"folder:{folder}",
        "--epochs",
        "6",
        "--seed",
        "7",
    ]
    command = [*HORNBOOK, *arguments, "--out", str(out)]
    done = 0
    while True:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        begun = (out / "config.json").exists()
        if done < kills:
            while not (out / "config.json").exists() and process.poll() is None:
                time.sleep(0.05)
            time.sleep(rng.uniform(0, 14 if begun else 8))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
        process.wait()
        if process.returncode == 0:
            return done
        assert process.returncode == -signal.SIGKILL
        done += 1
        command = [*HORNBOOK, "finetune", "--resume", str(out)]


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(3))
def test_killed_at_any_moment_it_ends_with_the_same_bits(folder, tmp_path, trial):
    import keras

    import hornbook.recipes  # noqa: F401

    rng = random.Random(trial)
    assert killed_and_resumed(folder, tmp_path / "killed", 4, rng) > 0
    killed_and_resumed(folder, tmp_path / "whole", 0, rng)
    ours, truth = (
        keras.models.load_model(tmp_path / name / "model.keras").get_weights()
        for name in ("killed", "whole")
    )
    assert len(ours) == len(truth) > 0
    assert all(np.array_equal(a, b) for a, b in zip(ours, truth, strict=True))
