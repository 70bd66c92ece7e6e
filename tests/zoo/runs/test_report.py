import csv
import html
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from runs import config_lines

from hornbook.errors import InputError
from hornbook.pages.curves import draw_curves
from hornbook.pages.figures import save_figure
from hornbook.zoo.runs import report

CLASSES = ["3", "<b>cat</b> & 猫"]
CONFUSION = [[45, 5], [13, 37]]
TEMPLATE = Path(report.__file__).with_name("report.html.j2")


def history():
    row = {"loss": 0.5, "accuracy": 0.75, "learning_rate": 0.03, "seconds": 1.2}
    phases = ["head", "head", "all"]
    return [{"phase": phase, "epoch": i, **row} for i, phase in enumerate(phases, 1)]


def config(**changed):
    options = {
        "data": "folder:my pictures",
        "labels_per_class": 5,
        "epochs": 3,
        "learning_rate": 0.03,
    }
    command = "hornbook finetune --data 'folder:my pictures'"
    return config_lines(options, command=command, class_names=CLASSES) | changed


def metrics(**changed):
    voted = {"correct": 82, "accuracy": 0.82, "crops": 5, "merge": "mean"}
    voted |= {"wrong_to_right": 7, "right_to_wrong": 3, "mcnemar_p": 0.34}
    return {
        "counts": {"train": 10, "validation": None, "test": 100},
        "stopping": "fixed budget",
        "epochs_run": {"head": 2, "all": 1},
        "test": {"single": {"correct": 78, "accuracy": 0.78}, "voted": voted},
        "confusion": CONFUSION,
        "seconds": {"head": 2.4, "all": 61.0, "test": 0.5, "total": 65.2},
        "notices": ["One file was left out."],
        "kept": "",
        "model_sha256": "5f" * 32,
    } | changed


def arm(title, *accuracies, mean=None, sd=0.01, **more):
    mean = sum(accuracies) / len(accuracies) if mean is None else mean
    return {"title": title, "accuracies": list(accuracies), "mean": mean, "sd": sd} | {
        "name": title,
        "learning_rate": 0.03,
        "seconds": 12.0,
        **more,
    }


def comparison():
    arms = [
        arm("frozen probe", 0.70, 0.80),
        arm("all at a tenth", 0.80, 0.92),
        arm("ensemble", 0.93, sd=None, learning_rate=None, seconds=None),
    ]
    return {"dataset": "x", "labels_per_class": 5, "seeds": [0, 1], "arms": arms}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """One small picture under each of the names."""
    path = tmp_path_factory.mktemp("pictures") / "a.png"
    save_figure(draw_curves(history()), path)
    return path.read_bytes()


@pytest.fixture
def run(tmp_path, pictures):
    """Makes a run folder."""

    def make(settings=None, results=None, compare=None, name="a run"):
        folder = tmp_path / name
        folder.mkdir()
        parts = {
            "config": settings or config(),
            "metrics": results or metrics(),
            "compare": compare,
        }
        for part, content in parts.items():
            if content is not None:
                (folder / f"{part}.json").write_text(json.dumps(content))
        with open(folder / "history.csv", "w", newline="") as file:
            columns = ["phase", "epoch", "loss", "accuracy", "val_loss"]
            columns += ["val_accuracy", "learning_rate", "seconds"]
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(history())
        for part in ("curves", "confusion", "mistakes"):
            (folder / f"{part}.png").write_bytes(pictures)
        if compare is not None:
            (folder / "comparison.png").write_bytes(pictures)
        return folder

    return make


class Page(HTMLParser):
    """The tags of a page, its text, and whether they are closed in order."""

    VOID = {"meta", "img", "br", "link"}

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.words, self.rows = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).replace("\xa0", " ").split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data.strip()

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def read(folder):
    path = report.write_report(folder)
    assert path == folder / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_imports_neither_keras_nor_matplotlib():
    code = (
        "import sys, hornbook.zoo.runs.report\n"
        "print({'keras', 'tensorflow', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_headline_is_the_voted_score_with_wilsons_interval(run):
    text = read(run()).text
    # Wilson 1927, formula for the interval of a proportion.
    z, p, n = 1.959964, 0.82, 100
    middle = (p + z * z / 2 / n) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    interval = f"{100 * (middle - half):.1f} to {100 * (middle + half):.1f} %"
    assert (
        f"82.0 % of 100 test pictures classified correctly; 95 % interval {interval}"
    ) in text
    assert "the mark at 50.0 % is what naming the most frequent class" in text


def test_table_of_scores(run):
    rows = read(run()).rows
    assert ["Single view", "78.0 %", "68.9 to 85.0", "78", "", ""] in rows
    voted = ["5 crops, merged by mean", "82.0 %", "73.3 to 88.3", "82", "7", "3"]
    assert voted in rows


@pytest.mark.parametrize(
    "p, sentence",
    [
        (0.34, "wrong, which chance may do as well (McNemar's test, p = 0.34)."),
        (0.012, "wrong, more than chance would (McNemar's test, p = 0.012)."),
        (1e-9, "wrong, more than chance would (McNemar's test, p < 0.001)."),
        (None, "wrong."),
    ],
)
def test_voting_is_judged(run, p, sentence):
    given = metrics()
    given["test"]["voted"]["mcnemar_p"] = p
    text = read(run(results=given)).text
    assert f"turned 7 wrong answers right and 3 right answers {sentence}" in text


def test_without_voting(run):
    given = metrics()
    given["test"]["voted"] = None
    page = read(run(config(test_crops="none"), given))
    assert "78.0 % of 100 test pictures" in page.text
    assert "Voting" not in page.text
    assert "hornbook.recipes" not in page.text


FEW = "glyphnet.letters_rgb was fine-tuned on folder:my pictures with 5 labels a class "


@pytest.mark.parametrize(
    "settings, results, sentence",
    [
        (
            {},
            {},
            f"{FEW}(10 pictures, 2 classes): the head alone for 2 epochs, then all "
            "layers for 1 epoch at 0.1 of the head's learning rate; it ran for its "
            "fixed budget, with no labels to spare for validation.",
        ),
        (
            {"labels_per_class": None, "epochs": 9},
            {
                "counts": {"train": 4000, "validation": 40, "test": 100},
                "stopping": "early stopping",
            },
            "with all labels (4,000 pictures, 2 classes): the head alone for 2 epochs, "
            "then all layers for 1 epoch at 0.1 of the head's learning rate; it "
            "stopped early, when 40 validation pictures showed no more gain.",
        ),
        (
            {"labels_per_class": 1, "backbone_lr_multiplier": 0.0},
            {
                "counts": {"train": 2, "validation": 1, "test": 100},
                "stopping": "early stopping",
                "epochs_run": {"head": 3},
            },
            "with 1 label a class (2 pictures, 2 classes): the head alone for 3 "
            "epochs; early stopping, on 1 validation picture, let it run for its whole "
            "budget.",
        ),
    ],
)
def test_summary_says_what_was_trained_and_where_it_stopped(
    run, settings, results, sentence
):
    text = read(run(config(**settings), metrics(**results))).text
    assert sentence in text


def test_lead_larger_than_its_spread():
    # By hand: 10, 12 and 14 points ahead; mean 12, deviation 2.
    said = report.verdict(
        [
            arm("a", 0.80, 0.82, 0.84),
            arm("b", 0.70, 0.70, 0.70),
            arm("c", 0.1, 0.9, 0.1),
        ]
    )
    assert said == (
        "Best is “a” with 82.0 ± 1.0 %. Seed by seed it is 12.0 ± 2.0 points above "
        "“b”, ahead on 3 of 3 seeds: the lead is larger than its spread."
    )


def test_lead_within_its_spread():
    # By hand: 9 ahead, 3 behind; mean 3, deviation sqrt(72) = 8.5.
    said = report.verdict([arm("b", 0.70, 0.70), arm("a", 0.79, 0.67)])
    assert "“a”" in said
    assert "3.0 ± 8.5 points above “b”, ahead on 1 of 2 seeds" in said
    assert "within its spread, so these seeds do not tell the two apart" in said


def test_pairs_count_and_not_each_arms_own_spread():
    # The seeds differ by far more than the arms do, but a is always ahead.
    a, b = (0.52, 0.72, 0.92), (0.51, 0.70, 0.91)
    said = report.verdict([arm("b", *b, sd=0.2), arm("a", *a, sd=0.2)])
    assert "ahead on 3 of 3 seeds: the lead is larger than its spread" in said


def test_a_tie_is_no_lead():
    said = report.verdict([arm("a", 0.8, 0.9), arm("b", 0.8, 0.9)])
    assert "0.0 ± 0.0 points above “b”, ahead on 0 of 2 seeds" in said
    assert "within its spread" in said


def test_one_score_is_told_apart():
    said = report.verdict([arm("all of them", 0.95, sd=None), arm("a", 0.8, 0.9)])
    assert said == (
        "Best of those with several seeds is “a” with 85.0 ± 1.0 %. "
        "“all of them” has 95.0 %, one score without a spread."
    )


def test_comparison(run):
    folder = run(compare=comparison())
    page = read(folder)
    assert report.verdict(comparison()["arms"]) in page.text
    assert ["frozen probe", "0.03", "75.0 ± 1.0", "12.0 s"] in page.rows
    assert ["ensemble", "–", "93.0", "–"] in page.rows
    assert len(page.all("img")) == 4


def test_confusions_by_frequency(run):
    rows = read(run()).rows
    first = rows.index(["<b>cat</b> & 猫", "3", "13", "26.0 %"])
    assert rows[first + 1] == ["3", "<b>cat</b> & 猫", "5", "10.0 %"]


def test_without_mistakes(run):
    best = {"correct": 100, "accuracy": 1.0}
    given = metrics(confusion=[[50, 0], [0, 50]], test={"single": best, "voted": None})
    page = read(run(results=given))
    assert "100.0 % of 100 test pictures" in page.text
    assert "95 % interval 96.3 to 100.0 %" in page.text
    assert "The most frequent errors" not in page.text


def test_tells_times_settings_versions_and_notices(run):
    page = read(run())
    assert ["Training all layers", "1 min 1 s", ""] in page.rows
    assert ["All of it", "1 min 5 s", ""] in page.rows
    assert ["backbone_lr_multiplier", "0.1"] in page.rows
    assert "Hornbook 0.1.0, keras 3.15.1, python 3.11.9" in page.text
    assert "One file was left out." in page.text
    assert "hornbook finetune --data 'folder:my pictures'" in page.text


def test_commands_can_be_pasted(run):
    folder = run(name="it's a run")
    page = read(folder)
    quoted = "'" + str(folder).replace("'", "'\"'\"'") + "'"
    assert f"hornbook predict {quoted} photo.png" in page.text
    assert f"hornbook evaluate {quoted} --data folder:photos" in page.text


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("crops", ["none", "five"])
def test_snippet_runs(run, channels, crops, monkeypatch, tmp_path, capsys):
    import keras
    import numpy as np
    from PIL import Image

    settings = config(channels=channels, test_crops=crops, class_names=["a", "b"])
    folder = run(settings)
    page = report.write_report(folder).read_text(encoding="utf-8")
    (snippet,) = re.findall(r"<code>(import json.*?)</code>", page, re.DOTALL)
    inputs = keras.Input((None, None, channels), dtype="uint8")
    bright = keras.ops.mean(keras.ops.cast(inputs, "float32"), axis=(1, 2, 3)) / 255
    outputs = keras.ops.stack([1 - bright, bright], axis=-1)
    keras.Model(inputs, outputs).save(folder / "model.keras")
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((9, 7, 3), 255, "uint8")).save("photo.png")
    exec(html.unescape(snippet), {})
    assert capsys.readouterr().out.split()[-1] == "b"
    assert ("hornbook.recipes" in snippet) == (crops == "five")


def test_page_stands_alone(run):
    page = read(run(compare=comparison()))
    assert not page.all("script")
    assert not page.all("link")
    for image in page.all("img"):
        assert image["src"].startswith("data:image/png;base64,")
        assert len(image["alt"]) > 20
    targets = {attributes.get("id") for _, attributes in page.tags}
    for link in page.all("a"):
        assert link["href"].removeprefix("#") in targets
    template = TEMPLATE.read_text(encoding="utf-8")
    assert not re.search(r"https?:|//|@import|url\(", template)


def test_page_is_well_made(run):
    page = read(run(compare=comparison()))
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert len(page.all("main")) == 1
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in (
        page.all("meta")
    )
    for table in re.findall(
        r"<thead>.*?</thead>", TEMPLATE.read_text(encoding="utf-8"), re.DOTALL
    ):
        assert 'scope="col"' in table


def test_names_are_escaped(run):
    names = ["<script>alert(1)</script>", '"><img src=x>']
    page = read(run(config(class_names=names, data=names[0], command=names[1])))
    assert not page.all("script")
    assert len(page.all("img")) == 3
    assert names[0] in page.text


def test_names_that_unicode_cannot_write(run):
    page = read(run(config(class_names=["a\udcff", "b"])))
    assert "a?" in page.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough_to_read(scheme):
    css = TEMPLATE.read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    rules = light if scheme == "light" else dark
    colours = dict(re.findall(r"--(\w+): (#\w{6})", rules))

    def luminance(name):
        code = colours[name]
        parts = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        parts = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
            for part in parts
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    def contrast(one, other):
        low, high = sorted([luminance(one), luminance(other)])
        return (high + 0.05) / (low + 0.05)

    for ink in ("ink", "quiet", "accent"):
        for ground in ("paper", "card"):
            assert contrast(ink, ground) >= 4.5
    assert contrast("mark", "card") >= 3


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "metrics.json", "history.csv"),
        *("curves.png", "confusion.png", "mistakes.png", "comparison.png"),
    ],
)
def test_names_the_missing_piece(run, name):
    folder = run(compare=comparison())
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"lacks {re.escape(name)}\\."):
        report.write_report(folder)
    assert not (folder / "report.html").exists()


def test_names_all_missing_pieces(run):
    folder = run()
    (folder / "curves.png").unlink()
    (folder / "mistakes.png").unlink()
    with pytest.raises(InputError, match=r"lacks curves\.png, mistakes\.png\."):
        report.write_report(folder)


def test_names_the_damaged_piece(run):
    folder = run()
    text = (folder / "metrics.json").read_text()
    (folder / "metrics.json").write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match=r"metrics\.json can't be read"):
        report.write_report(folder)


def test_failing_leaves_the_old_report_whole(run, monkeypatch):
    folder = run()
    old = report.write_report(folder).read_bytes()
    files = sorted(folder.iterdir())

    def half(path, text, **options):
        path.write_bytes(text[: len(text) // 2].encode())
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="No space"):
        report.write_report(folder)
    assert (folder / "report.html").read_bytes() == old
    assert sorted(folder.iterdir()) == files
