"""Two processes of this machine train together, as two machines would."""

import json
import os
import re
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from hornbook.errors import InputError
from hornbook.zoo import fine_tune
from hornbook.zoo.finetune import processes

SCRIPT = """
import functools, json, math, os, sys
sys.modules["tensorflow"] = None  # Keras would import it to seed it: half of the time
import keras, numpy as np
from keras import layers
from hornbook.recipes.data.seeded_batches import SeededBatches
from hornbook.zoo import fine_tune
from hornbook.errors import InputError

# With Adam's own, a gradient that is only rounding moves its weight by a whole step.
keras.optimizers.Adam = functools.partial(keras.optimizers.Adam, epsilon=0.1)
together = "KERAS_DISTRIBUTION_PROCESS_ID" in os.environ
number = int(os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID", 0))
if together:
    keras.distribution.initialize()
rng = np.random.default_rng(0)
x, y = rng.random((50, 4, 4, 1), "float32"), np.arange(50) % 3

def run(train, devices=1, batch_size=16, **options):
    keras.utils.set_random_seed(number)  # the backbones differ: process 0's counts
    inputs = keras.Input((4, 4, 1))
    hidden = layers.Conv2D(4, 2, name="a")(inputs)
    hidden = layers.BatchNormalization(name="n")(hidden)
    hidden = layers.Conv2D(4, 2, name="b")(layers.ReLU()(hidden))
    backbone = keras.Model(inputs, layers.GlobalAveragePooling2D()(hidden))
    return fine_tune(
        backbone, train, (x[:21], y[:21]), num_classes=3, batch_size=batch_size,
        batchnorm="update", learning_rate=0.01,
        steps_per_epoch=math.ceil(50 / batch_size),
        devices=devices if together else 1, **options,
    )

def refused(*arguments, **options):
    try:
        run(*arguments, **options)
    except InputError as error:
        return str(error)

folder = sys.argv[1]
told = {}
if together:
    told["errors"] = [
        refused((x, y), batch_size=15),
        refused((x, y), devices=3),
        refused((x, y[: 50 - number])),
        refused((x[number:], y[number:])),
        refused((x, y), epochs=2 + number),
    ]
arrays = run(
    (x, y), epochs=4, augment=layers.GaussianNoise(0.2, seed=1),
    cache=f"{folder}/cache", backup_dir=f"{folder}/state",
)
# Passes of 16, 16, 16 and 2.
stream = run(SeededBatches(x, y, 16), devices=2, strategy="full", epochs=3)
runs = {"arrays": arrays, "stream": stream}
for name, tuned in runs.items():
    np.savez(f"{folder}-{name}.npz", *tuned.model.get_weights())
told["histories"] = {name: tuned.history for name, tuned in runs.items()}
told["first"] = float(arrays.model.predict(x[:1], verbose=0)[0, 0])
print(json.dumps(told))
"""


def environments(count):
    """The variables for each of `count` processes on JAX, with two devices each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    devices = "--xla_force_host_platform_device_count=2"
    env = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": f"{devices} --xla_backend_optimization_level=0",
    }
    if count == 1:
        return [env]
    return [
        {
            **env,
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
            "KERAS_DISTRIBUTION_NUM_PROCESSES": str(count),
            "KERAS_DISTRIBUTION_PROCESS_ID": str(number),
        }
        for number in range(count)
    ]


def run_at_once(commands, envs, logs, seconds=240, until=lambda: False):
    """Runs processes side by side, of which none is left when it returns.

    They are killed after some seconds, or as soon as `until` says so, or soon after one
    fails: the others fail as well, or wait for it.

    Returns:
        The exit code, the output and the errors of each.
    """
    running, files = [], []
    try:
        for number, (command, env) in enumerate(zip(commands, envs, strict=True)):
            files.append([logs / f"{number}.out", logs / f"{number}.err"])
            with open(files[-1][0], "w") as out, open(files[-1][1], "w") as err:
                running.append(
                    subprocess.Popen(command, env=env, stdout=out, stderr=err)
                )
        end = time.monotonic() + seconds
        codes = [None]
        while None in codes and not until() and time.monotonic() < end:
            time.sleep(0.05)
            codes = [process.poll() for process in running]
            if any(codes):
                end = min(end, time.monotonic() + 20)
    finally:
        for process in running:
            process.kill()
            process.wait()
    return [
        (process.returncode, *(path.read_text() for path in pair))
        for process, pair in zip(running, files, strict=True)
    ]


REFUSED = [
    r"batch_size must be a multiple of 2, .* Received: batch_size=15",
    r"There are 2 in process 0: cpu:0, cpu:1\. Received: devices=3",
    r"(Process 1: )?Inputs and labels must have .* Received: lengths=\[50, 49\]",
    r"The data, and their order, must be the same in all .* '\w{64}' in process 1",
    r"epochs must be the same .* Received: 2 in process 0, 3 in process 1",
]


@pytest.mark.heavy
def test_two_train_as_one_does(tmp_path):
    commands = [
        [sys.executable, "-c", SCRIPT, tmp_path / name] for name in ("0", "1", "alone")
    ]
    envs = [*environments(2), *environments(1)]
    told = run_at_once(commands, envs, tmp_path)
    assert [code for code, *_ in told] == [0, 0, 0], [err[-2000:] for *_, err in told]
    *both, alone = (json.loads(out.splitlines()[-1]) for _, out, _ in told)

    # What can't be shared ends both before any work, with a sentence for each.
    for each in both:
        for sentence, pattern in zip(each["errors"], REFUSED, strict=True):
            assert re.fullmatch(pattern, sentence)

    for name, phases in {
        "arrays": ["head"] * 2 + ["all"] * 2,
        "stream": ["all"] * 3,
    }.items():
        weights = np.load(tmp_path / f"alone-{name}.npz")
        rows = alone["histories"][name]
        assert [row["phase"] for row in rows] == phases
        for number, each in enumerate(both):
            found = np.load(tmp_path / f"{number}-{name}.npz")
            for key in weights:
                np.testing.assert_allclose(
                    found[key], weights[key], rtol=1e-5, atol=1e-6
                )
            for row, other in zip(rows, each["histories"][name], strict=True):
                for key in row.keys() - {"phase", "seconds"}:
                    assert other[key] == pytest.approx(row[key], rel=1e-5)
    # And each can predict.
    first, second = (each["first"] for each in both)
    assert first == second == pytest.approx(alone["first"], rel=1e-5)

    # Process 0 alone writes.
    assert {path.name for path in (tmp_path / "0").iterdir()} == {"cache", "state"}
    assert (tmp_path / "0" / "state" / "1-all" / "latest").is_file()
    assert not (tmp_path / "1").exists()


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_another_backend_is_refused(monkeypatch, backend):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    for name, value in environments(2)[1].items():
        if name.startswith("KERAS_DISTRIBUTION"):
            monkeypatch.setenv(name, value)
    message = rf"need JAX .*, not {backend}: .*Received: .*_PROCESS_ID=1$"
    with pytest.raises(InputError, match=message):
        fine_tune("glyphnet.letters_rgb", (np.zeros((2, 32, 32, 3)), np.arange(2)))


def test_a_missing_variable_is_named(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    with pytest.raises(InputError, match=r"_JOB_ADDRESSES, .*_PROCESS_ID too"):
        processes.join()


def test_one_process_needs_nothing(monkeypatch):
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "1")
    processes.join()
    with processes.together():
        processes.require_same({"epochs": 2})
    assert processes.count() == 1


@pytest.fixture(scope="module")
def finetune(three_digits, tmp_path_factory):
    """`hornbook finetune` with more options in some processes at once."""
    root = tmp_path_factory.mktemp("runs")
    dataset = three_digits()
    np.savez(
        root / "digits.npz",
        x_train=dataset.train.images,
        y_train=dataset.train.labels,
        x_test=dataset.test.images,
        y_test=dataset.test.labels,
    )

    def call(*options, count=2, **more):
        command = [sys.executable, "-m", "hornbook", "finetune", *map(str, options)]
        return run_at_once([command] * count, environments(count), root, **more)

    return root, call


def history(folder):
    """The rows of a run's history, without the seconds."""
    lines = (folder / "history.csv").read_text().splitlines()
    return [line.rpartition(",")[0] for line in lines]


@pytest.mark.slow
def test_killed_and_resumed_by_both_it_ends_as_if_nothing_had_happened(finetune):
    root, call = finetune
    options = ("--data", f"npz:{root / 'digits.npz'}", "--epochs", 8, "--out")
    told = call(*options, root / "whole")
    assert [code for code, *_ in told] == [0, 0], [err[-2000:] for *_, err in told]
    (_, out, err), (_, other_out, other_err) = told
    assert out.endswith(f"Report: {root / 'whole' / 'report.html'}\n")
    assert "Test accuracy" in err
    assert "Report" not in other_out and "examples" not in other_err

    latest = root / "killed" / "state" / "1-all" / "latest"
    told = call(*options, root / "killed", until=latest.is_file)
    assert [code for code, *_ in told] == [-9, -9]
    assert not (root / "killed" / "model.keras").exists()
    told = call("--resume", root / "killed")
    assert [code for code, *_ in told] == [0, 0], [err[-2000:] for *_, err in told]
    assert history(root / "killed") == history(root / "whole")
    one, other = (
        keras.models.load_model(root / name / "model.keras").get_weights()
        for name in ("whole", "killed")
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_what_one_process_began_and_cannot_be_shared_is_refused(finetune):
    root, call = finetune
    options = ("--data", f"npz:{root / 'digits.npz'}", "--epochs", 2, "--out")
    [(code, _, err)] = call(*options, root / "alone", count=1)
    assert code == 0, err[-2000:]
    for more, message in (
        (("--resume", root / "alone"), "go on with it in one. Received: "),
        (("--compare", *options, root / "new"), "Received: 2 processes"),
    ):
        for code, _, err in call(*more):
            assert code == 2
            assert message in err
            assert "Traceback" not in err
    assert not (root / "new").exists()
