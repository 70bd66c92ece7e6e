import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from PIL import Image

from hornbook.pages.curves import draw_curves
from hornbook.pages.figures import BLUE, GREEN, ORANGE, save_figure
from hornbook.zoo.runs import figures

# A letter that DejaVu lacks, half a surrogate pair, TeX, a line break, another way
# to read.
HARD_NAMES = ["猫", "a\udcff", "$5_{", "two\nlines", "قط", "W" * 90]


def saved(figure, tmp_path):
    """The picture that was written, which must be small and without a warning."""
    path = tmp_path / "picture.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(figure, path)
    assert path.stat().st_size < 200_000
    image = Image.open(path)
    image.load()
    assert image.format == "PNG"
    return image


def luminance(colour):
    """Relative luminance, as WCAG defines it."""
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [
        0.2126,
        0.7152,
        0.0722,
    ]


def contrast(one, other):
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def epochs(count, head=1, validation=True):
    rows = []
    for epoch in range(1, count + 1):
        row = {"phase": "head" if epoch <= head else "all", "epoch": epoch}
        row |= {"loss": 2 / epoch, "accuracy": 1 - 0.9 / epoch}
        if validation:
            row |= {"val_loss": 2.5 / epoch, "val_accuracy": 0.8 - 0.7 / epoch}
        rows.append(row)
    return rows


def counts(classes, pictures=6000, seed=0):
    rng = np.random.default_rng(seed)
    truths = rng.integers(0, classes, pictures)
    predictions = rng.integers(0, classes, pictures)
    right = rng.random(pictures) < 0.75
    matrix = np.zeros((classes, classes), int)
    np.add.at(matrix, (truths, np.where(right, truths, predictions)), 1)
    return matrix


def names(count):
    return [f"class {i}" for i in range(count)]


def arm(title, accuracies):
    accuracies = np.array(accuracies)
    sd = accuracies.std(ddof=1) if len(accuracies) > 1 else None
    return {
        "title": title,
        "accuracies": accuracies.tolist(),
        "mean": accuracies.mean(),
        "sd": sd,
    }


def test_imports_neither_keras_nor_pyplot():
    code = (
        "import sys, hornbook.zoo.runs.figures\n"
        "print({'keras', 'tensorflow', 'matplotlib.pyplot'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_leaves_no_state_and_heeds_none(tmp_path):
    with matplotlib.rc_context({"figure.facecolor": "black", "font.size": 40}):
        before = dict(matplotlib.rcParams)
        image = saved(draw_curves(epochs(3)), tmp_path)
        assert dict(matplotlib.rcParams) == before
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_colours_are_of_okabe_and_ito():
    palette = {"#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00"}
    assert {BLUE, ORANGE, GREEN} <= palette


def test_curves_show_the_history():
    history = epochs(5, head=2)
    left, right = draw_curves(history).axes
    for axes, unit, metric in ((left, 1, "loss"), (right, 100, "accuracy")):
        training, validation = axes.lines
        for line, key in ((training, metric), (validation, f"val_{metric}")):
            np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
            np.testing.assert_allclose(
                line.get_ydata(), [unit * row[key] for row in history]
            )
        assert (training.get_linestyle(), validation.get_linestyle()) == ("-", "--")
        labels = [text.get_text() for text in axes.texts]
        assert labels == ["head alone", "all layers", "training", "validation"]
        bands = [
            patch.get_extents().transformed(axes.transData.inverted())
            for patch in axes.patches
        ]
        assert [(band.x0, band.x1) for band in bands] == [
            pytest.approx((0.5, 2.5)),
            pytest.approx((2.5, 5.5)),
        ]


@pytest.mark.parametrize("absent", ["missing", "none"])
def test_curves_without_validation(absent, tmp_path):
    history = epochs(4, validation=False)
    if absent == "none":
        history = [{**row, "val_loss": None, "val_accuracy": None} for row in history]
    figure = draw_curves(history)
    assert [len(axes.lines) for axes in figure.axes] == [1, 1]
    saved(figure, tmp_path)


def test_names_of_lines_keep_apart():
    history = [{**row, "val_loss": row["loss"]} for row in epochs(4)]
    figure = draw_curves(history)
    figure.draw_without_rendering()
    training, validation = figure.axes[0].texts[-2:]
    higher, lower = training.get_window_extent(), validation.get_window_extent()
    assert higher.y0 >= lower.y1 - 0.01


@pytest.mark.parametrize("count, head", [(1, 1), (2, 1), (80, 1), (80, 80)])
def test_curves_of_any_length(count, head, tmp_path):
    figure = draw_curves(epochs(count, head))
    saved(figure, tmp_path)
    ticks = figure.axes[0].get_xticks()
    assert (ticks == ticks.round()).all()


@pytest.mark.parametrize("classes", [2, 3, 10, 30])
def test_confusion_writes_the_counts(classes, tmp_path):
    matrix = counts(classes)
    figure = figures.draw_confusion(matrix, names(classes))
    axes = figure.axes[0]
    written = np.zeros_like(matrix)
    for text in axes.texts:
        j, i = text.get_position()
        written[i, j] = int(text.get_text())
    np.testing.assert_array_equal(written, matrix)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == names(classes)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == names(classes)
    assert axes.get_ylabel() == "True class"

    image = saved(figure, tmp_path)
    figure.draw_without_rendering()
    cell = axes.transData.transform([[0, 0], [1, 1]])
    for text in axes.texts:
        across, down = abs(cell[1] - cell[0])
        box = text.get_window_extent()
        assert box.width < across
        assert box.height < down
    assert max(image.size) < 1600


@pytest.mark.parametrize("first", [0, 25, 50, 75])
def test_confusion_counts_are_read_on_their_cells(first):
    right = np.arange(first, first + 26)  # per cent; the rest goes to the last class
    matrix = np.zeros((27, 27), int)
    matrix[np.arange(26), np.arange(26)] = right
    matrix[:26, 26] = 100 - right
    axes = figures.draw_confusion(matrix, names(27)).axes[0]
    wrong_colours, right_colours = (
        image.cmap(image.norm(image.get_array())) for image in axes.images
    )
    assert len(axes.texts) >= 51
    for text in axes.texts:
        j, i = text.get_position()
        colour = (right_colours if i == j else wrong_colours)[i, j]
        assert contrast(text.get_color(), colour[:3]) >= 4.5


def test_confusion_shows_rare_errors_beside_a_full_diagonal(tmp_path):
    matrix = np.diag([1000, 1000, 1000])
    matrix[0, 2] = 3
    axes = figures.draw_confusion(matrix, names(3)).axes[0]
    wrong = axes.images[0]
    assert wrong.get_array().count() == 1  # nothing but the error has a colour
    assert min(wrong.cmap(wrong.norm(0.003))[:3]) < 0.9


def test_confusion_of_a_class_without_pictures(tmp_path):
    matrix = [[5, 1, 0], [0, 0, 0], [0, 0, 4]]
    saved(figures.draw_confusion(matrix, names(3)), tmp_path)


@pytest.mark.parametrize("classes", [31, 250, 251, 1000])
def test_confusion_of_many_classes(classes, tmp_path):
    figure = figures.draw_confusion(counts(classes, 30_000), names(classes))
    axes = figure.axes[0]
    assert not axes.texts
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert 10 <= len(labels) <= 20
    assert labels[1] == f"class {axes.get_yticks()[1]}"
    image = saved(figure, tmp_path)
    assert max(image.size) < 1600


def test_confusion_of_many_classes_loses_no_error():
    matrix = np.diag(np.full(1000, 50))
    matrix[998, 3] = 1
    wrong, right = figures.draw_confusion(matrix, names(1000)).axes[0].images
    assert wrong.get_array().count() == 1
    assert wrong.get_array().max() == pytest.approx(1 / 51)
    assert right.get_array().count() == 250


def test_confusion_full_of_errors_is_a_small_file(tmp_path):
    matrix = np.random.default_rng(0).integers(1, 900, (30, 30))
    saved(figures.draw_confusion(matrix, names(30)), tmp_path)


def mistakes(count, channels=3, size=36, **changed):
    rng = np.random.default_rng(0)
    given = {
        "images": rng.integers(0, 256, (count, size, size, channels)).astype("uint8"),
        "truths": np.zeros(count, int),
        "predictions": np.ones(count, int),
        "probabilities": rng.permutation(np.linspace(0.2, 0.9, count)),
        "classes": ["cat", "dog"],
        "names": [f"{i}.png" for i in range(count)],
    }
    return figures.draw_mistakes(**given | changed)


def shown(figure):
    return [axes for axes in figure.axes if axes.images]


def test_mistakes_come_by_confidence_and_right_answers_not_at_all():
    figure = mistakes(
        5,
        truths=[0, 1, 1, 0, 0],
        predictions=[0, 0, 1, 1, 1],
        probabilities=[0.99, 0.5, 0.98, 0.874, 0.6],
    )
    found = [(axes.get_title(), axes.get_xlabel()) for axes in shown(figure)]
    assert found == [
        ("cat → dog (87 %)", "3.png"),
        ("cat → dog (60 %)", "4.png"),
        ("dog → cat (50 %)", "1.png"),
    ]


def test_mistakes_are_24_at_most():
    assert len(shown(mistakes(23))) == 23
    confident = shown(mistakes(40))
    assert len(confident) == 24
    assert confident[0].get_title() == "cat → dog (90 %)"


@pytest.mark.parametrize("channels, size", [(1, 8), (3, 36), (3, 300)])
def test_mistakes_of_noise_are_a_small_file(channels, size, tmp_path):
    saved(mistakes(24, channels, size), tmp_path)


def test_mistakes_show_the_pixels():
    images = np.zeros((1, 20, 10, 1), "uint8")
    images[0, :10] = 200
    (axes,) = shown(mistakes(1, images=images))
    np.testing.assert_array_equal(axes.images[0].get_array(), images[0, ..., 0])
    assert axes.images[0].get_clim() == (0, 255)


def test_no_mistakes(tmp_path):
    figure = mistakes(3, truths=[0, 1, 0], predictions=[0, 1, 0])
    assert "Not one mistake" in figure.texts[1].get_text()
    saved(figure, tmp_path)


def test_arrow_is_not_turned_by_names_from_right_to_left():
    (axes,) = shown(mistakes(1, classes=["قط", "dog"]))
    assert axes.get_title() == "\u200eقط\u200e → dog (20 %)"


def test_comparison_shows_each_seed_in_the_order_given():
    arms = [arm("b", [0.5, 0.7, 0.6]), arm("a", [0.8, 0.9, 0.7]), arm("all", [0.85])]
    compare = {"dataset": "digits", "labels_per_class": 5, "arms": arms}
    axes = figures.draw_comparison(compare).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["b", "a", "all"]
    assert axes.yaxis_inverted()
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["60.0 ± 10.0 %", "80.0 ± 10.0 %", "85.0 %"]
    dots = [each for each in axes.collections if isinstance(each, PathCollection)]
    assert len(dots) == 2
    np.testing.assert_allclose(dots[0].get_offsets()[:, 0], [50, 70, 60])
    np.testing.assert_allclose(dots[1].get_offsets()[:, 0], [80, 90, 70])
    assert axes.get_title() == "digits, 5 labels a class"


@pytest.mark.parametrize("seeds", [1, 5])
def test_comparison_of_anything_can_be_saved(seeds, tmp_path):
    arms = [arm(name, [0.5] * seeds) for name in HARD_NAMES]
    compare = {"dataset": "猫" * 200, "labels_per_class": None, "arms": arms}
    saved(figures.draw_comparison(compare), tmp_path)


def test_names_in_any_script_can_be_saved(tmp_path):
    n = len(HARD_NAMES)
    saved(figures.draw_confusion(np.eye(n, dtype=int), HARD_NAMES), tmp_path)
    truths = np.arange(n)
    figure = mistakes(
        n,
        truths=truths,
        predictions=(truths + 1) % n,
        classes=HARD_NAMES,
        names=HARD_NAMES,
    )
    saved(figure, tmp_path)
