"""`hornbook zoo` and `hornbook export`, as they are typed."""

import json
import statistics
import subprocess
import sys
import time

import keras
import pytest

from hornbook.cli import main

HEAVY = {"keras", "tensorflow", "jax", "torch", "numpy", "scipy", "etils"}


@pytest.fixture
def hornbook(capsys):
    def call(*arguments, code=0):
        with pytest.raises(SystemExit) as stopped:
            main([str(each) for each in arguments])
        said = capsys.readouterr()
        assert stopped.value.code == code, said.err
        return said.err if code == 2 else said.out

    return call


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    # Probabilities, as the bound of an export is for them: sums of raw pixels, in the
    # hundreds, differ by more in float32.
    keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(2, "softmax"),
        ]
    ).save(folder / "model.keras")
    (folder / "config.json").write_text('{"backbone": "resnet20", "data": "npz:d"}')
    (folder / "metrics.json").write_text("{}")
    return folder


def test_list(hornbook):
    lines = hornbook("zoo", "list").splitlines()
    assert len(lines) > 300
    [line] = [line for line in lines if line.startswith("keras/mobilenet_v2 ")]
    assert "2.26 M  224×224×3, BatchNorm, ImageNet" in line
    rows = json.loads(hornbook("zoo", "list", "--family", "resnet", "--json"))
    assert {"resnet20", "keras/resnet50"} <= {row["id"] for row in rows}
    for written in ("300k", "0.3M", "300000"):
        small = hornbook("zoo", "list", "--max-params", written, "--source", "ours")
        assert "resnet20" in small and "resnet56" not in small


def test_list_of_what_is_not_there(hornbook):
    assert "Received: x" in hornbook("zoo", "list", "--family", "x", code=2)
    assert "Received: many" in hornbook("zoo", "list", "--max-params", "many", code=2)
    assert hornbook("zoo", "list", "--max-params", "1") == ""


def test_show(hornbook):
    said = hornbook("zoo", "show", "keras/resnet50")
    for part in ("23,587,712", "224 × 224 × 3", "BGR", "He et al.", "has batchnorm"):
        assert part in said
    assert "Received: keras/resnt50" in hornbook("zoo", "show", "keras/resnt50", code=2)
    said = hornbook("zoo", "show", "glyphnet.letters_rgb")
    for key, value in (("learning rate", "0.03"), ("image size", "32")):
        assert f"\n{key:<15}{value}\n" in said
    assert f"\n{'batchnorm':<15}update\n" in said
    row = json.loads(hornbook("zoo", "show", "hub/bert_tiny_en_uncased", "--json"))
    assert row["kind"] == "text"


def test_add_pull_verify(hornbook, run, tmp_path):
    zoo, got = tmp_path / "zoo", tmp_path / "got"
    assert f"{zoo}/mine: 3 files" in hornbook("zoo", "add", run, zoo, "--id", "mine")
    assert hornbook("zoo", "verify", zoo) == "mine: matches its card\n"
    assert "hornbook predict" in hornbook("zoo", "pull", "mine", zoo, "--to", got)
    assert (got / "card.json").is_file()
    (zoo / "mine" / "metrics.json").write_text("{ }")
    said = hornbook("zoo", "verify", zoo, code=1)
    assert "metrics.json is damaged or was changed" in said
    assert "damaged" in hornbook("zoo", "pull", "mine", zoo, code=2)
    assert "does not exist" in hornbook("zoo", "verify", tmp_path / "no", code=2)


def test_export(hornbook, run):
    said = hornbook("export", run, "--format", "savedmodel")
    assert "export-savedmodel" in said and "images 8×8×3" in said
    assert "outputs differ by" in said
    said = hornbook("export", run, "--format", "caffe", code=2)
    assert "Received: caffe" in said


def test_formats_are_those_of_the_exporter():
    from hornbook.cli.export import FORMATS
    from hornbook.zoo.share import export

    assert list(export.FORMATS) == list(FORMATS)


PROGRAM = """
import sys
from hornbook.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)
"""
AT_ONCE = (("zoo", "list"), ("zoo", "show", "keras/vgg16"))


@pytest.mark.heavy
@pytest.mark.parametrize("arguments", AT_ONCE, ids=" ".join)
def test_answers_at_once(arguments):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not set(done.stderr.split()) & HEAVY
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "hornbook", *arguments],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        seconds.append(time.perf_counter() - start)
    assert statistics.median(seconds) < 1.5
