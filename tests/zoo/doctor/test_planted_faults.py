"""Planted faults: each is found by its name and alone; in healthy runs nothing is."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

SPEC = importlib.util.spec_from_file_location(
    "planted", Path(__file__).with_name("planted.py")
)
planted = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(planted)


def check(name, seed, folder):
    diagnosis, initial, (x, _) = planted.diagnose_planted(name, seed, folder)
    fault = planted.FAULTS[name][1]
    found = {finding.rule for finding in diagnosis.findings}
    assert found == ({fault} if fault else set()), str(diagnosis)
    # Of what a moderate share does little harm; all the rest is to be repaired.
    note = name == "20 % dead"
    assert diagnosis.healthy == (fault is None or note)
    if "dead" in name:
        share = float(name.split()[0]) / 100
        z = x[: planted.PROBE].astype("float64")
        for layer in ("first", "second"):
            kernel, bias = initial.get_layer(layer).get_weights()
            z = z @ kernel.astype("float64") + bias
            dead = diagnosis.log.first(f"{layer}_relu", "dead_units")
            assert dead == np.all(z <= 0, axis=0).sum()
            z = np.maximum(z, 0)
        finding = next(f for f in diagnosis.findings if f.layer == "first_relu")
        count = diagnosis.log.last("first_relu", "dead_units")
        assert count >= round(share * planted.UNITS)
        assert finding.evidence.startswith(f"{count:.0f} of {planted.UNITS} units")


@pytest.mark.parametrize(
    "name", ["healthy", "20 % dead", "too large a rate", "frozen by mistake"]
)
def test_planted_fault(name, tmp_path):
    check(name, 0, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", planted.FAULTS)
def test_every_planted_fault(name, seed, tmp_path):
    check(name, seed, tmp_path)
