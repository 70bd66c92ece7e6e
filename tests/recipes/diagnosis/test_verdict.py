import csv
import dataclasses
import io
import json
import math
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from hornbook.recipes.diagnosis.verdict import ACTIONS, CONDITIONS, LIMITS, verdict

DOCS = Path(__file__).parents[3] / "docs/studies"
RUNS = json.loads((DOCS / "curves.json").read_text(encoding="utf-8"))
STUDY = json.loads((DOCS / "curve_verdicts.json").read_text(encoding="utf-8"))


def curve(count, function):
    return [float(function(epoch)) for epoch in range(1, count + 1)]


def decay(tau, floor=0.0, height=1.0):
    return lambda epoch: floor + height * math.exp(-epoch / tau)


def history(count, train, validation=None):
    columns = {"loss": curve(count, train)}
    if validation:
        columns["val_loss"] = curve(count, validation)
    return columns


# One of each condition, of closed form.
SHAPES = {
    "underfits": history(40, decay(3, 0.9, 0.2), decay(3, 0.92, 0.2)),
    "fits": history(30, decay(7), decay(7, 0.03)),
    # The derivative of exp(-t/5) + t/50 is zero at 5 ln 10 = 11.5.
    "overfits": history(60, decay(5), lambda t: math.exp(-t / 5) + t / 50),
    "always overfits": history(60, decay(5), lambda t: 1 + t / 50),
    "unstable": history(
        40, lambda t: 0.5 - 0.3 * (-1) ** t, lambda t: 0.6 + 0.3 * (-1) ** t
    ),
    "diverged": history(20, lambda t: math.exp(t / 5), lambda t: math.exp(t / 4)),
    "still improving": history(10, decay(10), decay(10, 0.03)),
    "plateaued": history(200, decay(7), decay(7, 0.03)),
}


def only_training(columns):
    return {"loss": columns["loss"]}


class TestShapes:
    def test_there_is_one_of_each(self):
        assert set(SHAPES) == set(CONDITIONS)

    @pytest.mark.parametrize("condition", CONDITIONS)
    def test_each_is_told(self, condition):
        report = verdict(SHAPES[condition])
        assert report.condition == condition
        assert 0.5 < report.confidence <= 1
        assert report.actions == ACTIONS[condition]

    def test_overfits_from_the_minimum(self):
        report = verdict(SHAPES["overfits"])
        assert abs(report.epoch - 5 * math.log(10)) < 1
        assert report.best_epoch == report.epoch
        assert str(report).startswith(f"overfits from epoch {report.epoch} (confidence")

    def test_diverged_at_the_first_epoch_above_the_start(self):
        falls_then_rises = [1.0, 0.5, 0.7, 1.1, 3.0, 9.0]
        report = verdict({"loss": falls_then_rises})
        assert (report.condition, report.epoch) == ("diverged", 4)

    @pytest.mark.parametrize("condition", CONDITIONS)
    @pytest.mark.parametrize("unit", [1e-9, 3.7, 1e9])
    def test_the_unit_of_the_loss_makes_no_difference(self, condition, unit):
        columns = SHAPES[condition]
        scaled = {name: [unit * v for v in values] for name, values in columns.items()}
        report, other = verdict(columns), verdict(scaled)
        assert other.condition == report.condition
        assert other.confidence == report.confidence
        assert (other.epoch, other.best_epoch) == (report.epoch, report.best_epoch)
        assert other.gap == pytest.approx(unit * report.gap)
        same = verdict(scaled, baseline=unit), verdict(columns, baseline=1.0)
        assert same[0].condition == same[1].condition

    def test_a_constant_that_is_added_does(self):
        penalised = {
            name: [value + 5 for value in values]
            for name, values in SHAPES["fits"].items()
        }
        assert verdict(penalised).condition == "underfits"

    def test_the_baseline_tells_what_was_learned_in_the_first_epoch(self):
        """0.3 of a guess's 2.3 at once, then 0.28: without it, nothing was learned."""
        columns = history(40, decay(3, 0.28, 0.03), decay(3, 0.29, 0.03))
        assert verdict(columns).condition == "underfits"
        assert verdict(columns, baseline=math.log(10)).condition == "plateaued"

    def test_the_gap_is_that_of_the_last_tenth(self):
        columns = {"loss": [1.0] * 18 + [0.2, 0.4], "val_loss": [1.0] * 18 + [0.5, 0.9]}
        assert verdict(columns).gap == pytest.approx(0.4)


class TestMustNotFire:
    def test_ups_and_downs_far_below_the_start_are_not_unstable(self):
        small = history(40, lambda t: math.exp(-t) + 1e-5 * (2 + (-1) ** t))
        assert verdict(small).condition == "plateaued"

    def test_one_spike_is_not_unstable(self):
        columns = SHAPES["plateaued"]
        spiked = {**columns, "val_loss": [*columns["val_loss"]]}
        spiked["val_loss"][100] = 0.5
        assert verdict(spiked).condition == "plateaued"

    def test_validation_below_training_does_not_overfit(self):
        """As with dropout, which is on in training only."""
        report = verdict(history(200, decay(7, 0.1), decay(7)))
        assert report.condition == "plateaued"
        assert report.gap == pytest.approx(-0.1)

    def test_a_validation_loss_that_explodes_overfits_and_does_not_diverge(self):
        columns = history(40, decay(5), lambda t: math.exp(t / 5))
        assert verdict(columns).condition == "always overfits"

    def test_slow_and_high_is_not_underfitting(self):
        columns = history(20, lambda t: 1 - t / 40, lambda t: 1.01 - t / 40)
        assert verdict(columns).condition == "still improving"


class TestShortAndMissing:
    @pytest.mark.parametrize("count", [1, 2])
    def test_no_curve_yet(self, count):
        report = verdict(history(count, decay(5), decay(5, 0.1)))
        assert report.condition == "still improving"
        assert report.confidence == 0
        assert report.best_epoch == count
        assert "too few epochs to judge" in report.evidence

    def test_confidence_grows_with_the_epochs(self):
        confidences = [
            verdict(history(count, decay(30), decay(30))).confidence
            for count in (3, 5, 10)
        ]
        assert confidences == sorted(set(confidences))
        assert confidences[0] <= 0.3

    @pytest.mark.parametrize("condition", CONDITIONS)
    def test_without_validation(self, condition):
        report = verdict(only_training(SHAPES[condition]))
        blind = ("fits", "overfits", "always overfits")
        assert report.condition == ("plateaued" if condition in blind else condition)
        assert report.gap is None
        assert "no validation loss: overfitting cannot be seen" in report.evidence

    @pytest.mark.parametrize("bad", [math.nan, math.inf, "nan", "inf"])
    @pytest.mark.parametrize("name", ["loss", "val_loss"])
    @pytest.mark.parametrize("place", [0, 4, 29])
    def test_not_finite_is_diverged(self, bad, name, place):
        columns = {key: [*values] for key, values in SHAPES["fits"].items()}
        columns[name][place] = bad
        report = verdict(columns)
        assert (report.condition, report.confidence) == ("diverged", 1)
        assert report.epoch == place + 1
        assert report.best_epoch == (29 if place == 29 else 30)
        assert report.gap is None

    def test_one_epoch_that_is_not_finite(self):
        report = verdict({"loss": [math.nan]})
        assert (report.condition, report.epoch) == ("diverged", 1)
        assert report.best_epoch is None
        assert str(report).startswith("diverged at epoch 1 (confidence 1.00)")

    def test_a_loss_of_zero(self):
        assert verdict({"loss": [0.0] * 20}).condition in CONDITIONS


class Table:
    """As a DataFrame: neither a dict nor rows."""

    def __init__(self, columns):
        self.columns = {name: np.array(values) for name, values in columns.items()}

    def keys(self):
        return self.columns.keys()

    def __getitem__(self, name):
        return self.columns[name]

    def __contains__(self, name):
        return name in self.columns


class TestHistories:
    def rows(self, columns):
        """As `CSVLogger` writes and `csv.DictReader` reads them: all is text."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        text.seek(0)
        return csv.DictReader(text)

    @pytest.mark.parametrize("condition", CONDITIONS)
    def test_all_forms_are_one(self, condition):
        columns = SHAPES[condition]
        expected = verdict(columns)
        assert verdict(Table(columns)) == expected
        assert verdict(self.rows(columns)) == expected

    def test_keras_history_and_csv_log(self, tmp_path):
        keras.utils.set_random_seed(0)
        x = np.linspace(-1, 1, 32, dtype="float32")[:, None]
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.05), "mse", metrics=["mae"])
        kept = model.fit(
            x,
            2 * x,
            epochs=4,
            validation_data=(x, 2 * x),
            callbacks=[keras.callbacks.CSVLogger(tmp_path / "log.csv")],
            verbose=0,
        )
        expected = verdict(kept, metric="mae")
        assert expected.condition == "still improving"
        assert verdict(kept.history, metric="mae") == expected
        with open(tmp_path / "log.csv", newline="") as file:
            read = verdict(csv.DictReader(file), metric="mae")
        assert read.condition == expected.condition
        assert read.gap == pytest.approx(expected.gap)
        ends = [kept.history[name][-1] for name in ("mae", "val_mae")]
        assert expected.evidence[-2:] == (
            f"mae ends at {ends[0]:.4g}",
            f"val_mae ends at {ends[1]:.4g}",
        )

    @pytest.mark.parametrize("missing", [None, "", "NA"])
    def test_epochs_without_validation_are_filled_in(self, missing):
        columns = history(60, decay(5), lambda t: 1 + t / 50)
        expected = verdict(columns)
        sparse = [v if t % 2 else missing for t, v in enumerate(columns["val_loss"], 1)]
        report = verdict({**columns, "val_loss": sparse})
        assert report.condition == expected.condition
        assert report.gap == pytest.approx(expected.gap, abs=0.01)

    def test_the_history_is_left_as_it_was(self):
        columns = {name: [*values] for name, values in SHAPES["overfits"].items()}
        verdict(columns)
        assert columns == SHAPES["overfits"]


def test_the_report_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        verdict(SHAPES["fits"]).condition = "overfits"


def test_one_change_at_a_time_in_words():
    lines = str(verdict(SHAPES["always overfits"])).splitlines()
    place = lines.index("Next, one change at a time:")
    assert [line[:5] for line in lines[place + 1 :]] == ["  1. ", "  2. ", "  3. "]


@pytest.mark.parametrize("condition", ["underfits", "overfits", "always overfits"])
def test_data_and_complexity_come_before_regularisers(condition):
    told = " ".join(ACTIONS[condition])
    first = min(told.find(word) for word in ("complex", "data") if word in told)
    others = [told.find(w) for w in ("dropout", "weight decay", "regularise")]
    assert all(first < place for place in others if place >= 0)


@pytest.mark.parametrize(
    ("columns", "kwargs", "message"),
    [
        ({}, {}, r"Received: columns \[\]"),
        ([], {}, r"Received: columns \[\]"),
        ({"loss": []}, {}, r"Received: columns \['loss'\]"),
        ({"val_loss": [1.0]}, {}, r"Received: columns \['val_loss'\]"),
        ({"loss": [1.0, 0.5], "val_loss": [1.0]}, {}, "2 of loss, 1 of val_loss"),
        ({"loss": [1.0, -0.5]}, {}, "Received: -0.5"),
        ({"loss": [1.0], "val_loss": [-2.0]}, {}, "Received: -2"),
        ({"loss": [1.0]}, {"baseline": 0.0}, "Received: baseline=0.0"),
        ({"loss": [1.0]}, {"baseline": math.nan}, "Received: baseline=nan"),
        ({"loss": [1.0]}, {"metric": "auc"}, r"\['loss'\]. Received: metric='auc'"),
        ([1.0, 0.5], {}, "Received: list"),
    ],
)
def test_bad_arguments(columns, kwargs, message):
    with pytest.raises(ValueError, match=message):
        verdict(columns, **kwargs)


class TestStudy:
    """The runs are kept: what the study says is counted again, without training."""

    def test_the_limits_are_those_that_were_fitted(self):
        assert STUDY["limits"] == LIMITS

    def test_what_was_held_out(self):
        fitted = [run for run in RUNS if not run["held_out"]]
        held_out = [run for run in RUNS if run["held_out"]]
        assert len(RUNS) >= 60
        assert {run["truth"] for run in held_out} == set(CONDITIONS)
        assert {run["truth"] for run in fitted} == set(CONDITIONS)
        names = [{run["task"] for run in part} for part in (fitted, held_out)]
        assert {"breast cancer", "diabetes", "product"} == names[1] - names[0]
        seeds = {(run["task"], run["seed"]) for run in fitted}
        assert not seeds & {(run["task"], run["seed"]) for run in held_out}

    @pytest.mark.parametrize("part", ["fitted_on", "held_out"])
    @pytest.mark.parametrize("with_baseline", [False, True])
    def test_the_confusion_matrix(self, part, with_baseline):
        runs = [run for run in RUNS if run["held_out"] == (part == "held_out")]
        said = [
            verdict(run, baseline=run["baseline"] if with_baseline else None).condition
            for run in runs
        ]
        truth = [run["truth"] for run in runs]
        counts = confusion_matrix(truth, said, labels=CONDITIONS)
        expected = STUDY[f"{part}_with_baseline" if with_baseline else part]
        assert counts.tolist() == expected["counts"]
        accuracy = 100 * np.mean(np.array(truth) == said)
        assert expected["accuracy"] == pytest.approx(accuracy, abs=0.05)
        assert expected["runs"] == len(runs)

    def test_most_held_out_runs_are_told_rightly(self):
        """And the docstring says how many. By luck it would be 21 % at best."""
        alone, helped = STUDY["held_out"], STUDY["held_out_with_baseline"]
        assert alone["accuracy"] > 65
        assert helped["accuracy"] > 75
        told = " ".join(verdict.__doc__.split())
        figures = alone["accuracy"], helped["accuracy"]
        assert all(f"{each:.0f} %" in told for each in figures)
        assert f"with it, {helped['accuracy_but_for_times']:.0f} %" in told
        place = CONDITIONS.index("unstable")
        seen = [each["counts"][place][place] for each in (alone, helped)]
        count = sum(alone["counts"][place])
        assert f"{seen[0]} of {count} runs without, in {seen[1]} with it" in told

    def test_it_is_small(self):
        assert (DOCS / "curves.json").stat().st_size < 200_000
