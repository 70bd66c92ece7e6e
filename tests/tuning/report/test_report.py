"""What a report says, against a search whose truth is known."""

import html.parser
import json
import math
import re

import numpy as np
import pytest
from scipy import stats

from hornbook.errors import InputError
from hornbook.tuning.report import figures as plots
from hornbook.tuning.report.importance import encode, rank_importance
from hornbook.tuning.report.intervals import interval
from hornbook.tuning.report.page import write_page
from hornbook.tuning.report.read import Trial, read_search
from hornbook.tuning.report.tensorboard import write_logs

SPACE = [
    {
        "kind": "Float",
        "name": "learning_rate",
        "min_value": 1e-4,
        "max_value": 1.0,
        "sampling": "log",
    },
    {"kind": "Choice", "name": "head", "values": ["<plain>", "maxout"]},
    {
        "kind": "Float",
        "name": "idle",
        "min_value": 0.0,
        "max_value": 1.0,
        "sampling": "linear",
    },
    {"kind": "Boolean", "name": "norm", "default": False},
]
ABOUT = {
    "format": 1,
    "objective": [["val_accuracy", "max"]],
    "space": SPACE,
    "score": "best",
    "folds": None,
    "prune": None,
    "executions": 1,
}


def score(values):
    """Of the rate above all, of the head a little, and of nothing else."""
    return (
        0.9
        - 0.1 * abs(math.log10(values["learning_rate"]) + 2)
        - 0.03 * (values["head"] == "maxout")
    )


def run(value, how="warm", **more):
    curve = [value - 0.2, value, value - 0.01]
    return {
        "seed": 7,
        "execution": 0,
        "fold": None,
        "metrics": {"val_accuracy": value},
        "epoch": 1,
        "epochs": 3,
        "curves": {"val_accuracy": curve, "loss": [3, 2, 1], "val_loss": [3, 2.5, 2]},
        "seconds": 2.0 if how == "warm" else 10.0,
        "how": how,
        "why_plain": None,
        "pruned": None,
        "stopped_early": False,
    } | more


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_project(folder, trials, about=ABOUT):
    """A project folder, as a search would leave it."""
    names = [f"{place:02d}" for place in range(len(trials))]
    write(folder / "oracle.json", {"start_order": names})
    write(folder / "hornbook.json", about)
    for name, (values, state, runs) in zip(names, trials, strict=True):
        place = folder / f"trial_{name}"
        write(
            place / "trial.json",
            {
                "hyperparameters": {"values": values},
                "status": "COMPLETED",
                "score": None,
                "message": None,
            }
            | state,
        )
        if runs:
            found = [each["metrics"]["val_accuracy"] for each in runs]
            sd = np.std(found, ddof=1) if len(found) > 1 else None
            record = {
                "runs": runs,
                "seconds": sum(each["seconds"] for each in runs),
                "sd": {"val_accuracy": sd},
            }
            write(place / "hornbook.json", record)
    return folder


def draw(count, seed=0):
    rng = np.random.default_rng(seed)
    for place in range(count):
        values = {
            "learning_rate": float(10 ** rng.uniform(-4, 0)),
            "head": ["<plain>", "maxout"][rng.integers(2)],
            "idle": float(rng.random()),
            "norm": bool(rng.integers(2)),
        }
        found = score(values)
        how = "compiled" if place == 0 else "warm"
        yield values, {"score": found}, [run(found, how)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    trials = list(draw(40))
    trials.append(
        (
            trials[0][0],
            {"status": "FAILED", "message": "Trace\n  of it\nLoss <b>became</b> nan."},
            None,
        )
    )
    trials.append((trials[1][0], {"status": "RUNNING"}, None))
    return write_project(tmp_path_factory.mktemp("search"), trials)


@pytest.fixture(scope="module")
def search(folder):
    return read_search(folder)


class TestRead:
    def test_trials_and_their_order(self, search):
        assert len(search.trials) == 42 and len(search.done) == 40
        scores = [score(trial.values) for trial in search.done]
        assert [trial.score for trial in search.ranked()] == sorted(scores)[::-1]
        assert search.trials[40].message == "Loss <b>became</b> nan."
        assert search.trials[41].status == "RUNNING"
        assert search.trials[0].how == "compiled"

    def test_the_less_the_better(self, tmp_path):
        about = ABOUT | {"objective": [["val_loss", "min"]]}
        write_project(tmp_path, list(draw(5)), about)
        ranked = read_search(tmp_path).ranked()
        assert ranked[0].score == min(trial.score for trial in ranked)

    def test_no_search(self, tmp_path):
        with pytest.raises(InputError, match="There is no search"):
            read_search(tmp_path)

    def test_a_damaged_file_is_named(self, tmp_path):
        write_project(tmp_path, list(draw(2)))
        (tmp_path / "trial_01/trial.json").write_text('{"status')
        with pytest.raises(InputError, match="trial_01"):
            read_search(tmp_path)

    def test_a_real_search(self, tmp_path):
        import keras

        from hornbook.tuning import RandomSearch

        def build(hp):
            model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
            model.compile(
                keras.optimizers.SGD(hp.Float("learning_rate", 1e-3, 1e-1)), "mse"
            )
            return model

        x = np.ones((8, 2), "float32")
        tuner = RandomSearch(
            build,
            "loss",
            max_trials=2,
            executions_per_trial=2,
            directory=tmp_path,
            project_name="real",
        )
        tuner.search(x, x[:, :1], epochs=2, verbose=0)
        found = read_search(tmp_path / "real")
        best = tuner.oracle.get_best_trials(1)[0]
        assert found.ranked()[0].id == best.trial_id
        assert found.ranked()[0].score == best.score
        scores = [run["metrics"]["loss"] for run in found.ranked()[0].runs]
        assert found.ranked()[0].sd == pytest.approx(np.std(scores, ddof=1))
        assert write_page(tmp_path / "real", tmp_path / "real.html").is_file()


class TestImportance:
    def test_table(self, search):
        names, table = encode(search.done, search.space)
        assert names == ["learning_rate", "head", "idle", "norm"]
        for row, trial in zip(table, search.done, strict=True):
            values = trial.values
            head = ["<plain>", "maxout"].index(values["head"])
            expected = [
                math.log10(values["learning_rate"]),
                head,
                values["idle"],
                values["norm"],
            ]
            np.testing.assert_allclose(row, expected)

    def test_the_rate_matters_most_and_idle_does_not(self, search):
        found = rank_importance(search.done, search.space)
        assert found.names[0] == "learning_rate"
        mean = dict(zip(found.names, found.mean, strict=True))
        assert mean["learning_rate"] > 5 * max(mean["idle"], mean["norm"])
        assert found.r2 > 0.5

    def test_against_shuffles_by_hand(self, search):
        """The drop of R² when a column is shuffled, with NumPy alone."""
        from sklearn.ensemble import RandomForestRegressor

        found = rank_importance(search.done, search.space)
        names, table = encode(search.done, search.space)
        ranks = np.argsort(np.argsort([trial.score for trial in search.done])) + 1.0
        forest = RandomForestRegressor(
            100, min_samples_leaf=2, oob_score=True, random_state=0
        ).fit(table, ranks)
        assert found.r2 == pytest.approx(forest.oob_score_)

        def r2(x):
            rest = ((ranks - forest.predict(x)) ** 2).sum()
            return 1 - rest / ((ranks - ranks.mean()) ** 2).sum()

        rng = np.random.default_rng(1)
        for name, mean, sd in zip(found.names, found.mean, found.sd, strict=True):
            drops = []
            for _ in range(30):
                shuffled = table.copy()
                column = names.index(name)
                shuffled[:, column] = rng.permutation(shuffled[:, column])
                drops.append(r2(table) - r2(shuffled))
            error = 4 * math.hypot(np.std(drops), sd) / math.sqrt(30) + 1e-3
            assert mean == pytest.approx(np.mean(drops), abs=error)

    def test_caution(self, search):
        few = rank_importance(search.done[:12], search.space)
        assert "only a hint" in few.caution or "no importance" in few.caution
        assert "weak" not in rank_importance(search.done, search.space).caution
        assert rank_importance(search.done[:7], search.space) is None

    def test_noise_is_said_to_be_nothing(self, search):
        rng = np.random.default_rng(0)
        noise = [
            Trial(t.id, 0, "COMPLETED", {"idle": t.values["idle"]}, rng.random())
            for t in search.done
        ]
        found = rank_importance(noise, search.space)
        assert found.r2 < 0 and "no importance" in found.caution

    def test_inactive_is_a_value_of_its_own(self):
        space = {
            "kind": {"kind": "Choice", "config": {"values": ["a", "b"]}},
            "learning_rate": {
                "kind": "Float",
                "config": {"min_value": 1.0, "max_value": 2.0},
            },
        }
        trials = [
            Trial("0", 0, "COMPLETED", {"kind": "a", "learning_rate": 1.5}, 0.0),
            Trial("1", 0, "COMPLETED", {"kind": "b"}, 1.0),
        ]
        names, table = encode(trials, space)
        assert names == ["kind", "learning_rate"]
        np.testing.assert_array_equal(table, [[0, 1.5], [1, np.nan]])


class TestIntervals:
    def test_one_training_has_wilsons(self):
        trial = Trial("0", 0, "COMPLETED", {}, 0.9, runs=[run(0.9)])
        low, high = interval(trial, "val_accuracy", 160)
        z, n, p = stats.norm.ppf(0.975), 160, 144 / 160
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        assert (low, high) == pytest.approx((middle - half, middle + half))

    def test_several_trainings_have_students(self):
        scores = [0.8, 0.9, 0.85, 0.95, 0.9]
        trial = Trial(
            "0",
            0,
            "COMPLETED",
            {},
            np.mean(scores),
            np.std(scores, ddof=1),
            [run(each) for each in scores],
        )
        expected = stats.t.interval(0.95, 4, np.mean(scores), stats.sem(scores))
        assert interval(trial, "val_accuracy", 160) == pytest.approx(expected)

    def test_a_loss_of_one_training_has_none(self):
        trial = Trial("0", 0, "COMPLETED", {}, 0.3, runs=[run(0.3)])
        assert interval(trial, "val_loss", 160) is None
        assert interval(trial, "val_accuracy", None) is None


class TestPage:
    @pytest.fixture(scope="class")
    def page(self, folder, tmp_path_factory):
        path = tmp_path_factory.mktemp("page") / "report.html"
        about = {
            "title": "a <search>",
            "counts": {"validation": 160},
            "resume": "hornbook tune --resume x",
            "use": [{"why": "Do <this>:", "code": "echo 'a & b'"}],
            "notices": ["Mind <the> gap."],
            "test": {
                "trial": "07",
                "count": 1000,
                "metrics": {"accuracy": 0.875},
                "interval": [0.85, 0.89],
            },
        }
        return write_page(folder, path, about).read_text(encoding="utf-8")

    def test_it_stands_alone_and_is_escaped(self, page):
        assert page.count("data:image/png;base64,") == 5
        assert not re.search(r"(src|href)=\"(?!data:|#)", page)
        for raw in ("<search>", "<b>became", "<the>", "<this>", "<plain>"):
            assert raw not in page
        for escaped in ("a &lt;search&gt;", "Loss &lt;b&gt;became", "a &amp; b"):
            assert escaped in page

    def test_every_tag_is_closed_and_every_link_leads_somewhere(self, page):
        class Reader(html.parser.HTMLParser):
            open, ids, links = [], set(), set()

            def handle_starttag(self, tag, attributes):
                attributes = dict(attributes)
                if tag not in ("meta", "img"):
                    self.open.append(tag)
                if tag == "img":
                    assert attributes["alt"]
                self.ids.add(attributes.get("id"))
                self.links.add((attributes.get("href") or "")[1:])

            def handle_endtag(self, tag):
                assert self.open.pop() == tag

        reader = Reader()
        reader.feed(page)
        assert reader.open == []
        assert reader.links - {""} <= reader.ids

    def test_numbers(self, page, search):
        best = search.ranked()[0]
        low, high = interval(best, "val_accuracy", 160)
        assert f"{best.score:.4f}</td><td>{low:.4f} to {high:.4f}" in page
        near = sum(low <= t.score <= high for t in search.ranked()[1:])
        assert f"{near} others are within that interval" in page
        assert "best of 40 trials" in page
        assert "the best epoch of its training, which is optimistic" in page
        assert "accuracy 0.875" in page and "trial 07" in page
        assert "1 of 42 trials failed" in page
        seconds = 10 + 39 * 2
        assert (
            f"40 trials and 120 epochs took {seconds // 60} min {seconds % 60} s"
            in page
        )
        assert re.search(
            r"warm: [^<]*</th><td>39</td><td>2.0 s</td><td>1 min 18 s", page
        )
        assert f"{3600 * 40 / seconds:,.0f} trials per hour and process" in page
        assert "hornbook tune --resume x" in page

    def test_what_the_doctor_says(self, tmp_path):
        """Four trials whose curves are plain to see; the best one overfits."""
        falls = [2.0, 1.0, 0.6, 0.4, 0.3, 0.2, 0.15, 0.1, 0.08, 0.05]
        rises = [1.9, 1.2, 0.9, 0.8, 0.8, 0.9, 1.1, 1.3, 1.5, 1.7]
        broken = [2.0, math.nan, *[1.0] * 8]
        curves = [(falls, rises), (falls, rises), (broken, broken), ([-1.0], [-1.0])]
        trials = [
            (
                {"learning_rate": 0.1},
                {"score": 0.9 - place / 10},
                [run(0.9, curves={"loss": loss, "val_loss": val_loss})],
            )
            for place, (loss, val_loss) in enumerate(curves)
        ]
        write_project(tmp_path, trials)
        text = write_page(tmp_path, tmp_path / "a.html").read_text(encoding="utf-8")
        section = re.search(r'id="diagnosis".*?</section>', text, re.DOTALL)[0]
        assert "Of the best trial, trial 00:" in section
        assert "The curves say: <strong>overfits</strong>" in section
        assert section.count("in 10 epochs") == 1  # not by the finding once more
        assert "EarlyStopping(restore_best_weights=True)" in section
        assert "The curves of all 3 trainings say: overfits 2, diverged 1." in section
        assert "without a loss that can be read: 1." in section

    def test_there_is_a_page_before_any_trial(self, tmp_path):
        write_project(tmp_path, [])
        text = write_page(tmp_path, tmp_path / "a.html").read_text(encoding="utf-8")
        assert "No trial has succeeded yet" in text
        assert "data:image" not in text

    def test_one_trial_that_failed(self, tmp_path):
        trial = (
            {"learning_rate": 0.1},
            {"status": "INVALID", "message": "E\nBoom."},
            None,
        )
        write_project(tmp_path, [trial])
        text = write_page(tmp_path, tmp_path / "a.html").read_text(encoding="utf-8")
        assert "Boom." in text

    def test_folds_are_said(self, tmp_path):
        trials = [
            (v, s, [run(s["score"] + d) for d in (-0.02, 0, 0.02)])
            for v, s, _ in draw(9)
        ]
        write_project(tmp_path, trials, ABOUT | {"folds": 3, "score": ["mean", 2]})
        text = write_page(tmp_path, tmp_path / "a.html").read_text(encoding="utf-8")
        assert "over 3 trainings (3 folds), for each of the mean over the" in text
        assert '<th scope="col">sd</th>' in text and "0.0200" in text


def stages(folder):
    """Two stages, of which the first narrowed the rate."""
    change = {
        "name": "learning_rate",
        "is_range": True,
        "old": [1e-4, 1.0],
        "new": [1e-3, 1e-1],
        "reason": "The best are there.",
    }
    kept = {
        "name": "head",
        "is_range": False,
        "old": ["<plain>", "maxout"],
        "new": ["<plain>"],
        "reason": "None has it.",
    }
    plan = [
        {"name": "stage-1", "trials": 20, "epochs": 3, "search": "random"},
        {"name": "stage-2", "trials": 10, "epochs": 9, "search": "grid"},
    ]
    narrowing = [{"stage": "stage-1", "trials": 20, "changes": [change, kept]}]
    about = ABOUT | {"plan": plan, "narrowing": narrowing}
    write(folder / "coarse_to_fine.json", about)
    write_project(folder / "stage-1", list(draw(20)))
    fine = [(v, {"score": s["score"] / 2}, r) for v, s, r in draw(10, seed=1)]
    write_project(folder / "stage-2", fine)
    return folder


def test_stages_are_told_apart(tmp_path):
    found = read_search(stages(tmp_path))
    assert len(found.trials) == 30 and len(found.ranked()) == 10
    # The scores of the last stage count, though those of the first are higher.
    assert found.ranked()[0].stage == 1
    text = write_page(tmp_path, tmp_path / "a.html").read_text(encoding="utf-8")
    assert "0.0001 to 1</td><td>0.001 to 0.1</td>" in text
    assert "&lt;plain&gt;, maxout</td><td>&lt;plain&gt;</td>" in text
    assert "stage-2: 10 trials of 9 epochs, grid." in text
    assert "The best are there." in text


class TestPictures:
    def test_every_trial_is_a_dot(self, search):
        figure = plots.draw_hyperparameters(search)
        for axes, name in zip(figure.axes, search.space, strict=False):
            assert axes.get_xlabel() == name
            places = [dot.get_offsets()[0] for dot in axes.collections[:40]]
            values = [trial.values[name] for trial in search.done]
            if name in ("learning_rate", "idle"):
                np.testing.assert_allclose([x for x, _ in places], values)
        assert figure.axes[0].get_xscale() == "log"

    def test_narrowed_regions_are_shaded(self, tmp_path):
        figure = plots.draw_hyperparameters(read_search(stages(tmp_path)))
        rate, head = figure.axes[:2]
        box = rate.patches[0]
        assert (box.get_x(), box.get_x() + box.get_width()) == pytest.approx(
            (1e-3, 1e-1)
        )
        assert len(head.patches) == 1

    def test_best_line_is_the_best_so_far(self, search):
        [line] = plots.draw_best_so_far(search).axes[0].lines
        expected = np.maximum.accumulate([trial.score for trial in search.done])
        np.testing.assert_allclose(line.get_ydata(), expected)

    def test_lines_run_from_value_to_score(self, search):
        axes = plots.draw_parallel(search).axes[0]
        best = axes.lines[39]
        values = search.ranked()[0].values
        rate = (math.log10(values["learning_rate"]) + 4) / 4
        assert best.get_ydata()[0] == pytest.approx(rate)
        assert best.get_ydata()[2] == pytest.approx(values["idle"])

    def test_bars(self, search):
        found = rank_importance(search.done, search.space)
        axes = plots.draw_importance(found).axes[0]
        widths = [bar.get_width() for bar in axes.patches]
        np.testing.assert_allclose(widths, found.mean)

    def test_far_scores_do_not_flatten_the_rest(self):
        low, high = plots._limits([0.1, 0.11, 0.12, 0.13, 1e9])
        assert low < 0.1 and 0.13 < high < 1

    def test_scores_that_are_all_alike(self, tmp_path):
        trials = [(v, {"score": 0.5}, [run(0.5)]) for v, _, _ in draw(9)]
        write_project(tmp_path, trials)
        text = write_page(tmp_path, tmp_path / "a.html").read_text(encoding="utf-8")
        assert "too few trials with different scores" in text


class TestTensorBoard:
    @pytest.fixture(scope="class")
    def logs(self, search, tmp_path_factory):
        folder = tmp_path_factory.mktemp("logs") / "tensorboard"
        write_logs(search, folder)
        write_logs(search, folder)  # Takes the place of the first.
        return folder

    @staticmethod
    def read(folder):
        from tensorboard.backend.event_processing.event_accumulator import (
            EventAccumulator,
        )

        events = EventAccumulator(str(folder))
        events.Reload()
        return events

    def test_one_file_a_trial(self, logs):
        assert len(list(logs.glob("*/events*"))) == 40
        assert len(list(logs.glob("events*"))) == 1
        assert not list(logs.parent.glob(".new-*"))

    def test_scalars(self, logs, search):
        trial = search.done[3]
        events = self.read(logs / trial.id)
        [value] = [
            event.tensor_proto.float_val or event.tensor_proto.tensor_content
            for event in events.Tensors("val_accuracy")
        ]
        value = np.frombuffer(value, "<f4") if isinstance(value, bytes) else value
        assert value[0] == pytest.approx(trial.score, rel=1e-6)
        assert [event.step for event in events.Tensors("epoch_loss")] == [0, 1, 2]

    def test_hparams(self, logs, search):
        from tensorboard.plugins.hparams import metadata

        trial = search.done[3]
        found = self.read(logs / trial.id).PluginTagToContent("hparams")
        content = found[metadata.SESSION_START_INFO_TAG]
        values = metadata.parse_session_start_info_plugin_data(content).hparams
        assert values["learning_rate"].number_value == trial.values["learning_rate"]
        assert values["head"].string_value == trial.values["head"]
        assert values["norm"].bool_value == trial.values["norm"]

    def test_experiment(self, logs):
        from tensorboard.plugins.hparams import metadata

        content = self.read(logs).PluginTagToContent("hparams")[metadata.EXPERIMENT_TAG]
        experiment = metadata.parse_experiment_plugin_data(content)
        infos = {info.name: info for info in experiment.hparam_infos}
        assert infos["learning_rate"].domain_interval.max_value == 1.0
        assert len(infos["head"].domain_discrete) == 2
        assert experiment.metric_infos[0].name.tag == "val_accuracy"
