"""`hornbook shift`, once as a user's shell runs it, else in this process."""

import csv
import json

import numpy as np
import pytest
from PIL import Image


def draw(folder, rng, counts, brightness=0):
    """Pictures of discs and of bars, some of each."""
    rows, columns = np.indices((32, 32))
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            y, x = rng.uniform(10, 22, 2)
            near = np.hypot(rows - y, columns - x) if name == "disc" else abs(rows - y)
            grey = 60 + 120 * (near < rng.uniform(3, 6)) + brightness
            picture = rng.normal(grey[..., None], 12, (32, 32, 3)).clip(0, 255)
            Image.fromarray(picture.astype("uint8")).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    return {
        "train": draw(root / "train", rng, {"disc": 40, "grün": 40}),
        "same": draw(root / "same", rng, {"disc": 30, "grün": 30}),
        "moved": draw(root / "moved", rng, {"disc": 8, "grün": 52}, brightness=30),
    }


@pytest.fixture(scope="module")
def moved(sets, tmp_path_factory, command):
    out = tmp_path_factory.mktemp("out") / "1"
    done = command(
        "shift",
        *("--train", f"folder:{sets['train']}", "--test", f"folder:{sets['moved']}"),
        *("--out", out),
    )
    assert done.returncode == 0, done.stderr
    return out, done


def test_the_verdict_names_what_moved(moved):
    out, done = moved
    assert "The test images differ strongly" in done.stdout
    assert "brighter" in done.stdout
    assert "The proportions of predicted classes differ" in done.stdout
    assert "grün (50% to" in done.stdout or "disc (50% to" in done.stdout
    assert "cheating" in done.stdout
    assert "cannot be seen from inputs" in done.stdout
    assert done.stdout.strip().endswith(f"Report: {out / 'report.html'}")


def test_the_report_stands_alone(moved):
    out, _ = moved
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "The test set differs from the training set" in page
    assert "grün" in page and "brightness" in page
    assert "data:image/png;base64," in page
    assert "http://" not in page and "https://" not in page
    with Image.open(out / "examples.png") as sheet:
        assert sheet.width > 800


def test_the_numbers_and_the_weights(moved):
    out, _ = moved
    found = json.loads((out / "shift.json").read_text(encoding="utf-8"))
    assert found["inputs"]["shifted"] and found["inputs"]["p_value"] <= 0.025
    assert found["counts"] == {"train": 80, "test": 60}
    estimated = {
        each["name"]: each["estimated"] for each in found["class_mix"]["classes"]
    }
    assert estimated["grün"] == pytest.approx(52 / 60, abs=0.1)
    with open(out / "weights.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 80 and list(rows[0]) == ["image", "covariate", "label"]
    heavy = [float(row["label"]) for row in rows if row["image"].startswith("grün")]
    assert np.mean(heavy) > 1.3


@pytest.mark.heavy
def test_no_shift_of_an_unlabelled_folder_as_json(sets, tmp_path, shell):
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in sets["same"].rglob("*.png"):
        (flat / f"{file.parent.name}{file.name}").write_bytes(file.read_bytes())
    (flat / "notes.txt").write_text("not a picture")
    done = shell(
        "shift",
        *("--train", f"folder:{sets['train']}", "--test", f"folder:{flat}", "--json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found["inputs"]["shifted"] and not found["class_mix"]["shifted"]
    assert found["verdict"].startswith("The test images look like the training images")
    assert found["report"] == "shift/1/report.html"
    page = (tmp_path / found["report"]).read_text(encoding="utf-8")
    assert "No shift found" in page
    shown = found["images"]["Test images least like the training set"]
    assert len(shown) == 24 and set(shown) <= {each.name for each in flat.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train", "folder:nowhere", "--test", "folder:."], "nowhere"),
        (["--train", "{train}", "--test", "{train}"], "nothing to compare"),
        (
            ["--train", "{train}", "--test", "{same}", "--backbone", "resnet"],
            "Received: resnet",
        ),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_2(
    sets, tmp_path, command, arguments, message
):
    places = {name: f"folder:{path}" for name, path in sets.items()}
    done = command(
        "shift", *(each.format(**places) for each in arguments), cwd=tmp_path
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_full_folder_is_refused_at_once(sets, command):
    place = f"folder:{sets['train']}"
    done = command("shift", "--train", place, "--test", place, "--out", sets["train"])
    assert done.returncode == 2
    assert "The output folder is not empty" in done.stderr


def test_help_says_what_it_needs(command):
    done = command("shift", "--help")
    for word in ("--train", "--test", "--backbone", "--out", "--trust", "--json"):
        assert word in done.stdout
