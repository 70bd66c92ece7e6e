"""The doctor's page: whole, escaped, self-contained, and its pictures say what is."""

from html.parser import HTMLParser

import numpy as np
import pytest

from hornbook.zoo.doctor import diagnose, diagnose_history
from hornbook.zoo.doctor.figures import (
    MOST_LAYERS,
    draw_distributions,
    draw_layers,
    draw_verdict,
    short_names,
)
from hornbook.zoo.doctor.report import write_report

OVERFITS = {
    "loss": list(np.geomspace(2.3, 0.02, 12)),
    "val_loss": [2.2, 1.5, 1.1, 0.9, 0.8, 0.9, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0],
}
QUANTILES = ("02", "25", "50", "75", "98")


def table(layers=("net/first", "net/<head>"), probe=True):
    rows = []
    for step in (0, 50, 100):
        for i, layer in enumerate(layers):
            row = {"step": step, "layer": layer, "kind": "Dense", "trainable": 1}
            row |= {"update_ratio": 10.0 ** (-2 - step / 50), "weight_norm": 1.0}
            if probe:
                row |= {f"activation_q{q}": int(q) / 50 * (i + 1) for q in QUANTILES}
                row |= {f"gradient_q{q}": int(q) / 1e4 - 5e-3 for q in QUANTILES}
                row |= {"activation": "relu", "units": 8, "dead_units": step // 50}
            rows.append(row)
    return rows


class Tags(HTMLParser):
    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            assert attributes["alt"]
            self.images.append(attributes["src"])
        self.links += [attributes[n] for n in ("href", "src") if n in attributes]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page(tmp_path, diagnosis):
    path = write_report(
        tmp_path / "a" / "doctor.html", diagnosis, "<b>run</b>", "hornbook"
    )
    text = path.read_text()
    tags = Tags(text)
    assert tags.open == []
    assert all(link.startswith("data:image/png;base64,") for link in tags.links)
    assert "<b>run" not in text and "&lt;b&gt;run" in text
    assert "prefers-color-scheme: dark" in text
    return text, tags


def test_a_page_of_all(tmp_path):
    diagnosis = diagnose(history=OVERFITS, monitor=table())
    text, tags = page(tmp_path, diagnosis)
    assert len(tags.images) == 3
    assert "<h1>Overfits</h1>" in text and "overfits from epoch 5" in text
    for action in diagnosis.actions:
        assert action.split(":")[0].split("`")[0] in text


def test_a_page_of_a_healthy_run(tmp_path):
    history = {"loss": list(np.geomspace(2.3, 0.02, 12))}
    text, tags = page(tmp_path, diagnose_history(history))
    assert "<h1>No problems found</h1>" in text
    assert len(tags.images) == 1


def test_a_page_without_probe_or_curves(tmp_path):
    _, tags = page(tmp_path, diagnose(monitor=table(probe=False)))
    assert len(tags.images) == 1


def test_names_of_layers_are_escaped(tmp_path):
    rows = table()
    for row in rows:
        row["dead_units"] = 8
    text, _ = page(tmp_path, diagnose(monitor=rows))
    assert "net/&lt;head&gt;" in text and "net/<head>" not in text


def test_the_verdict_is_drawn_where_it_is_seen():
    run = diagnose_history(OVERFITS).log
    figure = draw_verdict(run)
    (axes,) = figure.axes
    assert axes.get_title(loc="left").startswith("overfits (confidence")
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["training"].get_ydata(), OVERFITS["loss"])
    np.testing.assert_allclose(lines["validation"].get_ydata(), OVERFITS["val_loss"])
    assert lines["lowest, epoch 5"].get_xdata()[0] == 5


def test_losses_that_are_missing_or_infinite_are_drawn():
    history = {"loss": [2.3, 1.0, float("inf"), 2.0], "val_loss": ["", 1.0, None, 2.0]}
    figure = draw_verdict(diagnose_history(history).log)
    assert "diverged, epoch 3" in {line.get_label() for line in figure.axes[0].lines}


def test_layers_are_drawn_in_their_order():
    run = diagnose(monitor=table()).log
    distributions = draw_distributions(run)
    assert [each.get_title() for each in distributions.axes] == [
        "Activations",
        "Gradients by weights",
    ]
    for axes in distributions.axes:
        names = [each.get_text() for each in axes.get_yticklabels()]
        assert names == ["first", "<head>"]
    figure = draw_layers(run)
    assert len(figure.axes) == 6
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["dead 2 of 8", "dead 2 of 8"]
    (ratio,) = figure.axes[1].lines
    np.testing.assert_allclose(ratio.get_ydata(), [1e-2, 1e-3, 1e-4])


def test_of_many_layers_some_are_drawn():
    run = diagnose(monitor=table([f"net/{i}" for i in range(100)])).log
    names = [t.get_text() for t in draw_distributions(run).axes[0].get_yticklabels()]
    assert len(names) == MOST_LAYERS
    assert (names[0], names[-1]) == ("0", "99")


@pytest.mark.parametrize(
    "layers, names",
    [
        (["net/a", "net/b"], ["a", "b"]),
        (["net/in/a", "net/b", "a"], ["in/a", "b", "a"]),
        (["one/a", "two/a"], ["one/a", "two/a"]),
        (["net/a"], ["a"]),
        (["x" * 50, "y"], ["…" + "x" * 23, "y"]),
    ],
)
def test_short_names(layers, names):
    assert short_names(layers) == names
