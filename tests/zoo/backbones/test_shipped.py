import keras
import numpy as np
import pytest

from hornbook.errors import InputError
from hornbook.zoo.backbones import open_backbone
from hornbook.zoo.backbones import shipped_weights as weights
from hornbook.zoo.backbones.cifar_resnet import cifar_resnet
from hornbook.zoo.backbones.maxout_network import maxout_network
from hornbook.zoo.backbones.shipped import ARCHITECTURES, native_ids
from hornbook.zoo.backbones.wide_resnet import wide_resnet

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


@pytest.mark.parametrize(
    ("model", "millions"),
    [
        # He et al., table 6; Zagoruyko and Komodakis, table 4.
        (lambda: cifar_resnet(20), 0.27),
        (lambda: cifar_resnet(32), 0.46),
        (lambda: cifar_resnet(56), 0.85),
        (lambda: wide_resnet(16, 4), 2.7),
    ],
)
def test_as_many_parameters_as_the_paper_says(model, millions):
    model = model()
    head = 10 * (model.output_shape[-1] + 1)
    digits = 1 if millions > 1 else 2
    assert round((trainable(model) + head) / 1e6, digits) == millions


def resnet_by_hand(depth):
    total, before = 9 * 3 * 16 + 2 * 16, 16
    for width in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            total += 9 * before * width + 9 * width * width + 2 * 2 * width
            before = width
    return total


@pytest.mark.parametrize("depth", [8, 20, 32, 56])
def test_resnet_by_hand(depth):
    assert trainable(cifar_resnet(depth)) == resnet_by_hand(depth)


def test_shortcuts_have_no_weights_and_pad_with_zeros():
    """Option A: of a block whose convolutions give nothing, the pixels remain."""
    model = cifar_resnet(8)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and "stem" not in layer.name:
            layer.set_weights([np.zeros(each.shape) for each in layer.get_weights()])
    stem = keras.Model(model.input, model.get_layer("stem_relu").output)
    last = keras.Model(model.input, model.get_layer("stage3_block1_relu").output)
    pixels = PIXELS.astype("float32")
    want = stem.predict(pixels, verbose=0)[:, ::4, ::4]
    got = last.predict(pixels, verbose=0)
    np.testing.assert_array_equal(got[..., 24:40], want)
    assert not got[..., :24].any() and not got[..., 40:].any()


def wide_by_hand(depth, width):
    total, before = 9 * 3 * 16, 16
    for base in (16, 32, 64):
        after = base * width
        for number in range((depth - 4) // 6):
            total += 9 * before * after + 9 * after * after + 2 * before + 2 * after
            total += before * after if number == 0 else 0
            before = after
    return total + 2 * before


@pytest.mark.parametrize(("depth", "width"), [(10, 2), (16, 4), (28, 2)])
def test_wide_resnet_by_hand(depth, width):
    assert trainable(wide_resnet(depth, width)) == wide_by_hand(depth, width)


def test_wide_resnet_drops_between_the_convolutions_of_a_block():
    model = wide_resnet(10, 1, dropout=0.25)
    dropped = [x for x in model.layers if isinstance(x, keras.layers.Dropout)]
    assert [each.rate for each in dropped] == [0.25] * 3
    names = [each.name for each in model.layers]
    for each in dropped:
        block = each.name.removesuffix("_dropout")
        assert names.index(f"{block}_1_conv") < names.index(each.name)
        assert names.index(each.name) < names.index(f"{block}_2_conv")


def test_maxout_by_hand():
    model = maxout_network((4, 6, 8), units=5)
    convolutions = 2 * (64 * 3 * 4 + 4) + 2 * (64 * 4 * 6 + 6) + 2 * (25 * 6 * 8 + 8)
    dense = 5 * (4 * 4 * 8 * 5 + 5)
    assert trainable(model) == convolutions + dense
    rates = [x.rate for x in model.layers if isinstance(x, keras.layers.Dropout)]
    assert rates == [0.2, 0.5, 0.5, 0.5]


def test_maxout_keeps_its_filters_within_bounds():
    model = maxout_network((4, 4, 4), units=4)
    layer = model.get_layer("block2_maxout")
    layer.kernel.assign(100 * np.ones(layer.kernel.shape))
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    model.train_on_batch(PIXELS, np.zeros((4, 4)))
    norms = np.sqrt((np.asarray(layer.kernel) ** 2).sum(axis=(0, 1, 2)))
    np.testing.assert_allclose(norms, 1.9, rtol=1e-4)


@pytest.mark.parametrize("depth", [7, 21, 2])
def test_depths_that_do_not_come_out(depth):
    with pytest.raises(ValueError, match=f"Received: depth={depth}"):
        cifar_resnet(depth)
    with pytest.raises(ValueError, match=f"Received: depth={depth}"):
        wide_resnet(depth)


@pytest.mark.parametrize("id", native_ids())
def test_a_backbone(id, tmp_path):
    """What every one of ours keeps: features, groups, card, save and load, a step."""
    backbone = open_backbone(id)
    model, card = backbone.model, backbone.card
    height, width, channels = card["input_shape"]
    pixels = PIXELS[:, :height, :width, :channels]
    # Called without `training`, it is in use.
    features = np.asarray(model(pixels))
    assert features.shape == (4, card["features"])
    floats = model(pixels.astype("float32"), training=False)
    np.testing.assert_array_equal(floats, features)
    paths = [path for group in backbone.groups for path in group]
    assert sorted(paths) == sorted(v.path for v in model.trainable_variables)
    assert len(paths) == len(set(paths)) and len(backbone.groups) > 2
    order = [v.path for v in model.trainable_variables]
    assert order.index(paths[0]) == 0
    assert card["parameters"] == model.count_params()
    assert card["has_batchnorm"] == ("maxout" not in id)
    assert (card["weights"] is not None) == (id in weights.weight_ids())
    assert card["fine_tuning"] == (
        {"learning_rate": 0.03, "batchnorm": "update", "image_size": 32}
        if "glyphnet" in id
        else {"learning_rate": 0.001, "batchnorm": "frozen", "image_size": 32}
    )

    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(pixels), features)

    classifier = keras.Sequential([model, keras.layers.Dense(3, activation="softmax")])
    # Tracing a deep network takes longer than the step.
    classifier.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    before = [np.array(v) for v in model.trainable_variables]
    classifier.train_on_batch(pixels, np.array([0, 1, 2, 0]))
    after = [np.array(v) for v in model.trainable_variables]
    assert all(np.isfinite(each).all() for each in after)
    changed = [bool((a != b).any()) for a, b in zip(after, before, strict=True)]
    assert changed[0] and np.mean(changed) > 0.9


def test_other_sizes_and_random_weights():
    backbone = open_backbone("glyphnet.letters_rgb", input_shape=(48, 40, 3))
    shipped = open_backbone("glyphnet.letters_rgb")
    for a, b in zip(backbone.model.weights, shipped.model.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    fresh = open_backbone("glyphnet.letters_rgb", weights=None)
    assert not np.allclose(fresh.model.weights[0], shipped.model.weights[0])
    grey = open_backbone("resnet20", input_shape=(28, 28, 1))
    assert grey.model.input_shape == (None, 28, 28, 1)
    assert grey.card["fine_tuning"]["image_size"] == 28


def test_weights_from_a_file(tmp_path):
    path = tmp_path / "mine.weights.h5"
    mine = open_backbone("resnet20").model
    mine.save_weights(path)
    opened = open_backbone("resnet20", weights=str(path)).model
    for a, b in zip(mine.weights, opened.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(InputError, match=r"another architecture.*mine"):
        open_backbone("resnet32", weights=path)
    mine.weights[3].assign(np.full(mine.weights[3].shape, np.nan))
    mine.save_weights(path)
    with pytest.raises(InputError, match="not finite, first in"):
        open_backbone("resnet20", weights=path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="corrupted"):
        open_backbone("resnet20", weights=path)
    with pytest.raises(InputError, match="does not exist"):
        open_backbone("resnet20", weights=tmp_path / "none.h5")


def test_what_is_not_there():
    said = r"unknown.*resnet20.*zoo list.*Received: resnet99"
    with pytest.raises(InputError, match=said):
        open_backbone("resnet99")
    with pytest.raises(InputError, match=r"3 channels.*\(32, 32, 1\)"):
        open_backbone("glyphnet.letters_rgb", input_shape=(32, 32, 1))


def test_all_shipped_weights_are_of_an_architecture_and_small():
    sizes = [weights.weights_path(id).stat().st_size for id in weights.weight_ids()]
    assert max(sizes) < 1.5e6 and sum(sizes) < 4e6
    for id in weights.weight_ids():
        assert weights.read_card(id)["architecture"] in ARCHITECTURES
