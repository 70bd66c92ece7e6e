"""`hornbook tune`, from the command to the model that it leaves."""

import html
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from hornbook.cli import main

SPACE = '''
"""Three bands, told apart by a small network."""

import keras
import numpy as np


def data():
    rng = np.random.default_rng(0)
    y = np.arange(150) % 3
    x = rng.normal(size=(150, 6)).astype("float32") + y[:, None]
    return {"train": (x[:90], y[:90]), "test": (x[90:], y[90:])}


def build(hp, shape, num_classes):
    learning_rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    kind = hp.Choice("kind", ["relu", "tanh"])
    model = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Dense(8, kind),
            keras.layers.Dropout(hp.Float("dropout", 0.05, 0.5)),
            keras.layers.Dense(num_classes, "softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(learning_rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model
'''
PLAIN = """
import sys, keras, numpy as np
model = keras.models.load_model(sys.argv[1])
x = np.load(sys.argv[2])
np.save(sys.argv[3], model.predict(x, verbose=0))
assert not [name for name in sys.modules if name.startswith("hornbook")]
"""


def tune(*arguments):
    """Runs the command in this process; gives its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["tune", *map(str, arguments)])
    return ended.value.code or 0


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("tune")
    (root / "bands.py").write_text(SPACE)
    return root


@pytest.fixture(scope="module")
def finished(root):
    out = root / "1"
    options = ["--space", root / "bands.py", "--trials", 3, "--epochs", 2, "--out", out]
    assert tune(*options) == 0
    return out


def test_what_it_leaves(finished):
    names = {path.name for path in finished.iterdir()}
    assert {"report.html", "best.keras", "best.json", "config.json", "search"} <= names
    assert len(list(finished.glob("search/trial_*"))) == 3
    assert len(list(finished.glob("tensorboard/*/events*"))) == 3
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "The test set was not used." in page
    assert "18" in page  # A fifth of 90 for validation.
    config = json.loads((finished / "config.json").read_text(encoding="utf-8"))
    assert config["counts"] == {"train": 72, "validation": 18, "test": 60}


def test_best_model_opens_in_plain_keras_and_has_the_score(finished, tmp_path):
    from hornbook.tuning.report.read import read_search
    from hornbook.tuning.runs import run

    job = run.reopen(finished)
    x, y = job.arguments["validation_data"]
    np.save(tmp_path / "x.npy", x)
    files = [finished / "best.keras", tmp_path / "x.npy", tmp_path / "y.npy"]
    subprocess.run([sys.executable, "-c", PLAIN, *map(str, files)], check=True)
    guesses = np.load(tmp_path / "y.npy").argmax(axis=1)
    best = read_search(finished / "search").ranked()[0]
    assert (guesses == y).mean() == pytest.approx(best.score)


def test_going_on_with_it_tests_once(finished, capsys):
    before = {p: p.stat().st_mtime_ns for p in finished.glob("search/trial_*/*")}
    assert tune("--resume", finished, "--test") == 0
    told = capsys.readouterr()
    found = json.loads((finished / "test.json").read_text())
    assert (
        found["count"] == 60 and found["correct"] / 60 == found["metrics"]["accuracy"]
    )
    assert f"{found['metrics']['accuracy']:.4f}" in told.err
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "60 test examples, evaluated once" in page
    assert {
        p: p.stat().st_mtime_ns for p in finished.glob("search/trial_*/*")
    } == before
    written = (finished / "test.json").stat().st_mtime_ns
    assert tune("--resume", finished, "--test") == 0
    assert (finished / "test.json").stat().st_mtime_ns == written


def test_printed_commands_run(finished, root, monkeypatch):
    monkeypatch.chdir(root)
    page = (finished / "report.html").read_text(encoding="utf-8")
    blocks = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", page, re.S)
    python, train, *_ = map(html.unescape, blocks)
    exec(python, {})
    program, command, *arguments = shlex.split(train)
    assert (program, command) == ("hornbook", "tune")
    assert tune(*arguments, "--out", "again") == 0
    best = json.loads((finished / "best.json").read_text())
    again = json.loads((root / "again/best.json").read_text())
    assert again == best


def test_copy_of_a_space(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert tune("--copy", "table") == 0
    assert "hornbook tune --space table.py" in capsys.readouterr().out
    from hornbook.tuning.spaces import table

    with open(table.__file__, "rb") as file:
        assert (tmp_path / "table.py").read_bytes() == file.read()
    assert tune("--copy", "table") == 2


@pytest.mark.parametrize(
    "search",
    [
        "coarse-to-fine",
        pytest.param("grid", marks=pytest.mark.slow),
        pytest.param("bayesian", marks=pytest.mark.slow),
        pytest.param("hyperband", marks=pytest.mark.slow),
    ],
)
def test_other_searches(root, search, capsys):
    out = root / search
    trials = {"grid": 9, "bayesian": 3, "coarse-to-fine": 5}.get(search)
    options = ["--trials", trials] if trials else []
    options += ["--space", root / "bands.py", "--epochs", 4, "--fix", "kind=tanh"]
    assert tune("--search", search, "--out", out, *options) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert ("After stage-1" in page) == (search == "coarse-to-fine")
    states = [json.loads(p.read_text()) for p in out.rglob("trial.json")]
    assert {s["hyperparameters"]["values"]["kind"] for s in states} == {"tanh"}
    if search == "grid":
        assert len(states) == 9
    assert (out / "best.keras").is_file()
    assert "trials/hour" in capsys.readouterr().err


def test_folds_and_executions(root):
    out = root / "folds"
    options = ["--folds", 3, "--executions", 2, "--trials", 2, "--epochs", 1]
    assert (
        tune("--space", root / "bands.py", *options, "--score", "mean:1", "--out", out)
        == 0
    )
    record = json.loads(next(out.rglob("trial_*/hornbook.json")).read_text())
    assert len(record["runs"]) == 6
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "the mean over 6 trainings (3 folds times 2 seeds)" in page
    assert (out / "best.keras").is_file()


def test_a_table(root, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        f"{a},{b},{'much' if a + b > 0 else 'little'}"
        for a, b in rng.normal(size=(60, 2)).round(3)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,kind", *rows]))
    options = ["--data", f"csv:{tmp_path / 't.csv'}", "--trials", 1, "--epochs", 2]
    assert tune("--space", "table", *options, "--out", tmp_path / "1", "--test") == 0
    config = json.loads((tmp_path / "1/config.json").read_text())
    assert config["class_names"] == ["little", "much"]
    assert config["counts"] == {"train": 38, "validation": 10, "test": 12}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--space", "nothing"], "There is no such search space"),
        (["--search", "best"], "search must be one of random"),
        (["--trials", "0"], "trials must be at least 1"),
        (["--score", "first"], "`score` must be"),
        (["--data", "nothing:here"], "Received: nothing:here"),
        (["--data", "csv:nothing.csv", "--space", "table"], "nothing.csv"),
        (["--search", "hyperband", "--trials", "4"], "leave out --trials"),
        (["--search", "grid", "--prune", "median"], "prune needs a random search"),
        (["--stages", "grid,random"], "add that"),
        (["--search", "coarse-to-fine", "--stages", "grid"], "two of random and grid"),
        (["--address", "here"], "Received: --address here"),
        (["--executor", "spark"], "Received: --executor spark"),
        (["--workers", "0"], "Received: --workers 0"),
        (["--resume", "nothing"], "no search to continue"),
        (["--resume", "x", "--trials", "3"], "leave out --trials"),
        (["--space", "table", "--fix", "width=17"], "Received: width=17"),
        (["--space", "table", "--fix", "wdth=16"], "has no hyperparameter wdth"),
        (["--space", "table", "--search", "grid"], "A grid over"),
        (
            ["--space", "table", "--search", "coarse-to-fine", "--trials", "1"],
            "too few",
        ),
        (["--space", "table", "--out", "."], "The folder is not empty"),
        (["--space", "broken.py"], "`build` of the search space fails: KeyError"),
        (["--space", "empty.py"], "asks for no hyperparameters"),
    ],
)
def test_wrong_input_is_one_sentence_before_anything(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("def build(hp):\n    {}['x']\n")
    model = "keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])"
    (tmp_path / "empty.py").write_text(
        f"import keras\n\ndef build(hp):\n    m = {model}\n"
        "    m.compile('sgd', 'mse')\n    return m\n"
    )
    # Space files without data get the embedded pictures; these fail before that counts.
    assert tune(*arguments) == 2
    told = capsys.readouterr().err
    assert message in told.replace("\n", " ")
    assert "Traceback" not in told
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.py", "empty.py"]


def test_changed_data_are_refused(root, tmp_path, capsys):
    path = tmp_path / "bands.py"
    path.write_text(SPACE)
    out = tmp_path / "1"
    assert tune("--space", path, "--trials", 1, "--epochs", 1, "--out", out) == 0
    path.write_text(SPACE.replace("default_rng(0)", "default_rng(1)"))
    from hornbook.tuning.runs import space_file

    space_file._load.cache_clear()
    assert tune("--resume", out) == 2
    assert "The data have changed" in capsys.readouterr().err


SLOW = SPACE.replace(
    "def build(hp, shape, num_classes):",
    "def build(hp, shape, num_classes):\n    import time; time.sleep(0.3)",
)


def start(*arguments, cwd):
    return subprocess.Popen(
        [sys.executable, "-m", "hornbook", "tune", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(process, folder, count):
    """Until so many trials have ended."""
    for _ in range(1200):
        states = [p.read_text() for p in folder.glob("search/trial_*/trial.json")]
        if sum('"COMPLETED"' in state for state in states) >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("No trial has ended in a minute.")


@pytest.mark.heavy
def test_interrupted_it_reports_and_says_how_to_go_on(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    options = ["--space", "slow.py", "--trials", 40, "--epochs", 2, "--out", "1"]
    process = start(*options, cwd=tmp_path)
    wait_for(process, tmp_path / "1", 2)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted. Continue with: hornbook tune --resume 1" in told
    page = (tmp_path / "1/report.html").read_text(encoding="utf-8")
    assert "hornbook tune --resume 1" in page
    assert (tmp_path / "1/best.keras").is_file()
    assert not (tmp_path / "1/test.json").exists()


@pytest.mark.slow
def test_killed_and_resumed_it_ends_as_one_left_alone(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    options = ["--space", "slow.py", "--trials", 12, "--epochs", 2, "--seed", 5]
    alone = start(*options, "--out", "alone", cwd=tmp_path)
    assert alone.communicate() and alone.returncode == 0

    process = start(*options, "--out", "killed", cwd=tmp_path)
    for count in (2, 5, 9):
        wait_for(process, tmp_path / "killed", count)
        process.kill()
        process.wait()
        process = start("--resume", "killed", cwd=tmp_path)
    assert process.communicate() and process.returncode == 0

    def table(folder):
        paths = sorted((tmp_path / folder).glob("search/trial_*/trial.json"))
        states = [json.loads(path.read_text()) for path in paths]
        return [
            (s["trial_id"], s["hyperparameters"]["values"], s["score"]) for s in states
        ]

    assert len(table("killed")) == 12
    assert table("killed") == table("alone")
    best = [(tmp_path / name / "best.json").read_text() for name in ("killed", "alone")]
    assert best[0] == best[1]
