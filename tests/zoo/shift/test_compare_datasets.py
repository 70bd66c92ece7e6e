import keras
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from hornbook.errors import InputError
from hornbook.zoo.backbones import open_backbone
from hornbook.zoo.data.arrays.decode import UnreadableImage
from hornbook.zoo.data.builders.hornbook_digits import scanned_digits
from hornbook.zoo.shift import compare_datasets as module
from hornbook.zoo.shift.compare_datasets import compare_datasets, compute_features
from hornbook.zoo.shift.figures import COLUMNS, draw_contact_sheet, extremes
from hornbook.zoo.shift.measures import WORDS, measure
from hornbook.zoo.shift.report import as_dict, verdict

GREY = "glyphnet.letters_grey"


@pytest.fixture(scope="module")
def digits():
    images, labels = scanned_digits()
    order = np.random.default_rng(0).permutation(len(labels))
    return images[order], labels[order]


@pytest.fixture
def save(tmp_path):
    def save(name, images, labels):
        np.savez(tmp_path / name, x=images, y=labels)
        return f"npz:{tmp_path / name}.npz"

    return save


def test_no_shift_within_digits(digits, save):
    images, labels = digits
    found = compare_datasets(
        save("a", images[:300], labels[:300]),
        save("b", images[300:600], labels[300:600]),
        GREY,
    )
    assert not found.report.inputs_shifted and not found.report.classes_shifted
    assert "look like the training images" in verdict(found)
    assert found.covariate.effective_size > 200
    np.testing.assert_allclose(found.label.test_priors, 0.1, atol=0.06)


def test_thicker_strokes_and_another_mix_are_named(digits, save):
    images, labels = digits
    train = save("a", images[:400], labels[:400])
    rest, truths = images[400:], labels[400:]
    thick = ndimage.grey_dilation(rest[:300], size=(1, 3, 3))
    found = compare_datasets(train, save("b", thick, truths[:300]), GREY)
    assert found.report.inputs_shifted
    assert "brighter" in verdict(found) and "lighter over a larger area" in verdict(
        found
    )
    assert {each.name for each in found.measures} == set(WORDS) - {"colourfulness"}

    odds = np.where(truths == 3, 8.0, 1.0)
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(truths), 300, replace=False, p=odds / odds.sum())
    found = compare_datasets(train, save("c", rest[chosen], truths[chosen]), GREY)
    assert found.report.classes_shifted
    assert found.report.moved_classes[0].name == "3"
    share = (truths[chosen] == 3).mean()
    assert found.label.test_priors[3] == pytest.approx(share, abs=0.05)
    told = as_dict(found, train=train)
    assert told["class_mix"]["classes"][3]["estimated"] == found.label.test_priors[3]


def test_large_sets_are_drawn_from_and_twins_are_told(digits, save, monkeypatch):
    monkeypatch.setattr(module, "AT_MOST", 50)
    images, labels = digits
    found = compare_datasets(
        save("a", images[:120], labels[:120]),
        save("b", images[110:220], labels[110:220]),
        GREY,
    )
    assert found.report.counts == (50, 50) and found.counts == (120, 110)
    assert len(found.covariate.sample_weight) == len(found.names) == 120
    notices = " ".join(found.notices)
    assert "10 of 110 test images are in the training set too" in notices
    assert "at most 50 images of each set" in notices


def test_few_of_a_class_leave_the_mix_out(digits, save):
    images, labels = digits
    few = np.concatenate([np.flatnonzero(labels == k)[:4] for k in range(10)])
    found = compare_datasets(
        save("a", images[few], labels[few]),
        save("b", images[-60:], labels[-60:]),
        GREY,
    )
    assert found.label is None and found.report.class_p_value is None
    assert "class proportions were not compared" in " ".join(found.notices)
    assert "proportions of predicted" not in verdict(found)
    assert not as_dict(found)["class_mix"]


def test_files_that_are_no_pictures(digits, save, tmp_path):
    images, labels = digits
    train = save("a", images[:100], labels[:100])
    folder = tmp_path / "flat"
    folder.mkdir()
    for i, image in enumerate(images[100:120]):
        Image.fromarray(image).save(folder / f"{i:02}.png")
    (folder / "bad.png").write_bytes(b"nothing")
    with pytest.raises(UnreadableImage, match=r"bad\.png"):
        compare_datasets(train, f"folder:{folder}", GREY)
    found = compare_datasets(train, f"folder:{folder}", GREY, skip_unreadable=True)
    assert found.counts == (100, 20)
    assert "Skipped bad.png" in " ".join(found.notices)


def test_refused_before_any_work(digits, save):
    images, labels = digits
    train = save("a", images[:20], labels[:20])
    for test, backbone, message in (
        (train, "resnet", "Received: resnet"),
        ("npz:nowhere.npz", GREY, "does not exist"),
        (train, GREY, "Every test image is in the training set"),
        (save("b", images[20:25], labels[20:25]), GREY, "at least 10 images"),
    ):
        with pytest.raises(InputError, match=message):
            compare_datasets(train, test, backbone)


def test_measures_against_closed_forms():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 9, 9, 3), dtype="uint8")
    found = measure(images)
    grey = images.mean(axis=-1)
    np.testing.assert_allclose(found["brightness"], images.mean((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found["contrast"], grey.std((1, 2)), rtol=1e-5)
    spread = images.max(-1).astype(float) - images.min(-1)
    np.testing.assert_allclose(found["colourfulness"], spread.mean((1, 2)), rtol=1e-5)
    blurred = ndimage.uniform_filter(images, (1, 3, 3, 1))
    assert (measure(blurred)["sharpness"] < found["sharpness"]).all()
    assert set(found) == set(WORDS)


def test_extremes_are_those_of_the_scores(digits, save):
    images, labels = digits
    found = compare_datasets(
        save("a", images[:100], labels[:100]),
        save("b", 255 - images[100:160], labels[100:160]),
        GREY,
    )
    most, least, odd = extremes(found).values()
    scores = dict(zip(found.train.names, found.report.train_scores, strict=True))
    assert scores[most.names[0]] == max(scores.values())
    assert scores[least.names[0]] == min(scores.values())
    assert len(most) == len(least) == len(odd) == 2 * COLUMNS
    sheet = draw_contact_sheet(extremes(found)).axes[0].images[0].get_array()
    np.testing.assert_array_equal(sheet[1:33, 1:33], most.images[0][..., 0])
    np.testing.assert_array_equal(sheet[35:67, 1:33], most.images[COLUMNS][..., 0])


@pytest.fixture
def own_backbone(tmp_path):
    """A `.keras` file for 12×10 pixels: the mean of each quarter, and a head."""
    inputs = keras.Input((12, 10, 1))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.AveragePooling2D((6, 5))(x)
    x = keras.layers.Flatten(name="features")(x)
    outputs = keras.layers.Dense(2, activation="softmax")(x)
    path = tmp_path / "own.keras"
    keras.Model(inputs, outputs).save(path)
    return path


def test_any_backbone_sees_images_in_its_own_size(digits, save, own_backbone):
    images, labels = digits
    train = save("a", images[:200], labels[:200])
    moved = np.clip(images[200:400].astype(int) + 40, 0, 255).astype("uint8")
    found = compare_datasets(train, save("b", moved, labels[200:400]), own_backbone)
    assert found.report.inputs_shifted and "brighter" in verdict(found)
    assert found.train.images.shape[1:] == (12, 12, 1)
    embedded = [each for each in found.report.features if "embedding" in each.name]
    assert len(embedded) == 4
    found = compare_datasets(
        train, save("c", images[200:400], labels[200:400]), own_backbone
    )
    assert not found.report.inputs_shifted


def test_features_are_those_of_the_model(own_backbone, monkeypatch):
    monkeypatch.setattr(module, "BATCH_SIZE", 3)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 12, 10, 1), dtype="uint8")
    model = open_backbone(own_backbone).model
    quarters = images.reshape(8, 2, 6, 2, 5).mean((2, 4)).reshape(8, 4) / 255
    got = compute_features(model, images, (12, 10))
    np.testing.assert_allclose(got, quarters, rtol=1e-5)
    flat = np.full((2, 30, 30, 1), 51, "uint8")
    np.testing.assert_allclose(compute_features(model, flat, (12, 10)), 0.2, rtol=1e-5)


def test_a_backbone_without_weights_is_told(digits, save):
    images, labels = digits
    found = compare_datasets(
        save("a", np.stack([images[:60]] * 3, -1), labels[:60]),
        save("b", np.stack([images[60:80]] * 3, -1), labels[60:80]),
        "glyphnet_small",
    )
    assert "glyphnet_small has random weights" in found.notices[0]


def test_a_backbone_that_takes_no_images(digits, save, tmp_path):
    images, labels = digits
    keras.Sequential([keras.Input((3,)), keras.layers.LayerNormalization()]).save(
        tmp_path / "n.keras"
    )
    data = save("a", images[:60], labels[:60])
    with pytest.raises(InputError, match=r"backbone for images.*n\.keras"):
        compare_datasets(data, data, tmp_path / "n.keras")
