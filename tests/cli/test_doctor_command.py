"""`hornbook doctor`, once as a user's shell runs it, else in this process."""

import json

import keras
import numpy as np
import pytest
from keras import layers


def write_history(path, validation):
    losses = np.geomspace(2.3, 0.02, 12)
    lines = [
        f"{i},{a},{b}" for i, (a, b) in enumerate(zip(losses, validation, strict=True))
    ]
    path.write_text("\n".join(["epoch,loss,val_loss", *lines]) + "\n")


def model(*inner, **keywords):
    made = keras.Sequential(
        [keras.Input((4,)), *inner, layers.Dense(3, activation="softmax", name="head")]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(**keywords)
    made.compile("adam", loss)
    return made


def test_a_history(tmp_path, shell):
    history = tmp_path / "history.csv"
    write_history(history, [2, 1.5, 1.1, 0.9, 0.8, 0.9, 1, 1.2, 1.4, 1.6, 1.8, 2])
    done = shell("doctor", history)
    assert done.returncode == 0, done.stderr
    assert "overfits from epoch 5" in done.stdout
    assert "1. Stop at the best epoch" in done.stdout
    assert "<h1>Overfits</h1>" in (tmp_path / "doctor.html").read_text()


def test_a_folder_with_a_model_and_data(tmp_path, command):
    run = tmp_path / "run"
    run.mkdir()
    write_history(run / "history.csv", np.geomspace(2.2, 0.05, 12))
    model(layers.Dense(8, activation="relu"), from_logits=True).save(
        run / "model.keras"
    )
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)) + 100, np.arange(60) % 3
    np.savez(tmp_path / "data.npz", x=x, y=y, x_val=x[:5], y_val=y[:5])
    done = command(
        "doctor",
        run,
        "--data",
        tmp_path / "data.npz",
        "--json",
        "--out",
        tmp_path / "d.html",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [each["rule"] for each in found["findings"]] == [
        "logits",
        "unnormalised_input",
        "shared_examples",
    ]
    assert not found["healthy"] and found["curves"]["condition"] == "still improving"
    assert (
        found["report"] == str(tmp_path / "d.html") and (tmp_path / "d.html").exists()
    )


def test_a_model_with_a_lambda_is_refused_unless_trusted(tmp_path, command):
    path = tmp_path / "model.keras"
    double = layers.Lambda(lambda x: x * 2)
    model(double, layers.Dense(8, activation="relu")).save(path)
    done = command("doctor", path)
    assert done.returncode == 2
    assert "--trust" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "doctor.html").exists()
    done = command("doctor", path, "--trust")
    assert done.returncode == 0, done.stderr
    assert "No problems found." in done.stdout


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("missing", None, "does not exist"),
        ("empty", "folder", "one of model.keras"),
        ("a.txt", b"text", "takes a run folder"),
        ("a.keras", b"not a zip", "not a .keras file"),
        ("a.csv", b"epoch,accuracy\n1,0.5\n", "must have a `loss`"),
        ("a.csv", b"", "no rows"),
    ],
)
def test_what_cannot_be_diagnosed(tmp_path, command, name, content, says):
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    done = command("doctor", path)
    assert done.returncode == 2, done.stdout
    assert says in done.stderr and "Traceback" not in done.stderr
