"""Each rule on a training fires where its fault is in the table, and not elsewhere."""

import numpy as np
import pytest

from hornbook.errors import InputError
from hornbook.zoo.doctor import diagnose, diagnose_history, read_table

STEPS = (0, 50, 100, 150)
FITS = {
    "loss": list(np.geomspace(2.3, 0.02, 12)),
    "val_loss": list(np.geomspace(2.2, 0.05, 12)),
}


def table(**changes):
    """Rows of three layers with all in order, and changes by layer.

    A value is a number, or one for each step.
    """
    rows = []
    for i, step in enumerate(STEPS):
        for layer in ("first", "norm", "head"):
            kind = "BatchNormalization" if layer == "norm" else "Dense"
            row = {"step": step, "layer": layer, "kind": kind, "trainable": 1}
            row |= {"weight_norm": 4.0, "gradient_norm": 0.1, "update_ratio": 1e-3}
            row["is_output"] = int(layer == "head")
            if layer == "first":
                row |= {"activation": "relu", "units": 40, "dead_units": 2}
            if layer == "norm":
                row |= {"running_variance_ratio": 0.9, "running_mean_gap": 0.1}
            for name, value in changes.get(layer, {}).items():
                row[name] = value[i] if isinstance(value, list) else value
            rows.append(row)
    return rows


def found(history=None, **changes):
    return [
        (finding.rule, finding.layer, finding.level)
        for finding in diagnose(monitor=table(**changes), history=history).findings
    ]


def everywhere(**figures):
    return {layer: figures for layer in ("first", "head")}


def test_a_healthy_table_has_no_findings():
    assert found() == found(FITS) == []
    assert diagnose(monitor=table(), history=FITS).healthy


@pytest.mark.parametrize(
    "dead, level",
    [(0, None), (6, None), (8, "note"), (16, "note"), (24, "finding"), (40, "finding")],
)
def test_dead_relu(dead, level):
    expected = [("dead_relu", "first", level)] if level else []
    assert found(first={"dead_units": dead}) == expected


def test_when_units_died_is_said():
    (finding,) = diagnose(monitor=table(first={"dead_units": [0, 20, 30, 30]})).findings
    assert finding.evidence == "30 of 40 units are dead, in training"
    (finding,) = diagnose(monitor=table(first={"dead_units": 30})).findings
    assert finding.evidence == "30 of 40 units are dead, from the start"


def test_saturation():
    tanh = {"activation": "tanh", "units": None, "dead_units": None}
    assert found(first={**tanh, "saturated_fraction": 0.3}) == []
    assert found(first={**tanh, "saturated_fraction": 0.7}) == [
        ("saturation", "first", "finding")
    ]
    # An answer may be sure.
    assert found(head={"activation": "sigmoid", "saturated_fraction": 0.9}) == []


def test_gradients_that_vanish_or_explode():
    assert found(first={"gradient_norm": 1e-3}) == []
    assert found(first={"gradient_norm": 1e-6}) == [
        ("vanishing_gradient", "first", "finding")
    ]
    assert found(first={"gradient_norm": 1e3}) == [
        ("exploding_gradient", "first", "finding")
    ]
    assert found(norm={"gradient_norm": 1e-9}) == []


@pytest.mark.parametrize(
    "ratio, rule",
    [
        (1e-3, None),
        (1e-2, None),
        (1e-4, None),
        (0.1, "rate_too_large"),
        ([2.0, 1e-3, 1e-4, 1e-4], "rate_too_large"),
        ([0.2, 1e-3, 1e-3, 1e-3], None),
        (1e-6, "rate_too_small"),
        (0.0, "rate_too_small"),
        ([1e-3, 1e-3, 1e-3, 1e-7], None),
        ([None, 1e-3, 1e-3, None], None),
    ],
)
def test_rates(ratio, rule):
    changes = everywhere(update_ratio=ratio)
    assert found(**changes) == ([(rule, "", "finding")] if rule else [])


def test_what_has_learned_may_stand_still():
    assert found(FITS, **everywhere(update_ratio=1e-6)) == []


def test_a_moderate_rate_is_too_large_where_the_curves_are_thrown():
    history = {"loss": [2.3, 9.0, 30.0, 2.0, 40.0, 5.0, 60.0, 8.0]}
    assert found(history, **everywhere(update_ratio=0.03)) == [
        ("rate_too_large", "", "finding")
    ]
    assert [rule for rule, *_ in found(history)] == ["diverged"]


def test_frozen_in_between():
    frozen = {"trainable": 0, "update_ratio": None, "gradient_norm": None}
    assert found(head=frozen) == [("frozen_in_between", "head", "finding")]
    assert found(first=frozen) == []
    assert found(norm=frozen) == []


@pytest.mark.parametrize(
    "ratio, gap, fires",
    [(1.0, 0.0, 0), (0.7, 0.2, 0), (0.5, 0.2, 1), (2.0, 0.2, 1), (1.0, 1.0, 1)],
)
def test_batchnorm_mismatch(ratio, gap, fires):
    norm = {"running_variance_ratio": ratio, "running_mean_gap": gap}
    assert found(norm=norm) == [("batchnorm_mismatch", "norm", "finding")] * fires
    begun = [9.0, 1.0, 1.0, 1.0]  # at the start they must be off
    assert found(norm={"running_variance_ratio": begun, "running_mean_gap": 0}) == []


def labelled(shuffle):
    rng = np.random.default_rng(0)
    y = np.arange(600) % 3
    x = rng.normal(size=(600, 4)) + y[:, None]
    return x, rng.permutation(y) if shuffle else y


@pytest.mark.parametrize("shuffle", [False, True])
def test_shuffled_labels(shuffle):
    history = {
        "loss": list(np.linspace(1.1, 0.1, 12)),
        "val_loss": list(np.linspace(1.1, 2.5, 12)),
    }
    diagnosis = diagnose(history=history, data=labelled(shuffle), baseline=np.log(3))
    rules = [finding.rule for finding in diagnosis.findings]
    assert rules == (["shuffled_labels"] if shuffle else ["always_overfits"])
    if shuffle:
        assert [f.rule for f in diagnosis.consequences] == ["always_overfits"]
    learned = {"loss": FITS["loss"], "val_loss": list(np.geomspace(1.1, 0.1, 12))}
    assert diagnose(history=learned, data=labelled(shuffle)).findings == []


def test_only_strong_verdicts_are_findings():
    still = {"loss": list(np.linspace(2.3, 1.0, 12))}
    for history in (FITS, still):
        diagnosis = diagnose_history(history)
        assert diagnosis.findings == [] and diagnosis.healthy
        assert diagnosis.actions == list(diagnosis.curves.actions)
    flat = diagnose_history({"loss": [2.3] * 12, "val_loss": [2.3] * 12})
    assert [f.rule for f in flat.findings] == ["underfits"]
    assert flat.actions == list(flat.curves.actions)


def test_an_unsure_verdict_is_a_note():
    short = {"loss": [2.3, 1.2, 0.6, 0.3], "val_loss": [2.3, 1.5, 1.9, 2.2]}
    diagnosis = diagnose_history(short)
    assert diagnosis.curves.confidence < 0.6
    assert [f.level for f in diagnosis.findings] == ["note"] and diagnosis.healthy


def test_a_cause_takes_its_consequences_along():
    changes = everywhere(update_ratio=[3.0, 0.0, 0.0, 0.0])
    changes["first"] |= {"dead_units": [0, 40, 40, 40]}
    history = {"loss": [2.3, 2.3, 2.3, 2.3] * 3, "val_loss": [2.3] * 12}
    diagnosis = diagnose(monitor=table(**changes), history=history)
    assert [f.rule for f in diagnosis.findings] == ["rate_too_large"]
    came = {f.rule for f in diagnosis.consequences}
    assert came == {"dead_relu", "rate_too_small", "underfits"}
    assert diagnosis.actions == [diagnosis.findings[0].change]
    assert "Possible consequences: dead_relu, rate_too_small, underfits." in str(
        diagnosis
    )


def test_tables_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "monitor.csv"
    path.write_text("step,layer,units\n0,a/b,\n50,a/b,4\n")
    assert read_table(path) == [
        {"step": 0.0, "layer": "a/b", "units": None},
        {"step": 50.0, "layer": "a/b", "units": 4.0},
    ]
    for text in ("", "step,layer\n"):
        path.write_text(text)
        with pytest.raises(InputError, match="no rows"):
            read_table(path)
    path.write_bytes(b"\xff\xfe\x00step")
    with pytest.raises(InputError, match="cannot be read"):
        read_table(path)
