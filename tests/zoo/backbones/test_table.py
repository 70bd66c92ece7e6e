"""The table says of each backbone what the backbone says of itself."""

import keras_hub
import pytest

from hornbook.errors import InputError
from hornbook.zoo.backbones import make_table as make
from hornbook.zoo.backbones.keras_applications import ARCHITECTURES
from hornbook.zoo.backbones.shipped import native_ids
from hornbook.zoo.backbones.table import find, list_backbones, read_table

CARD = {"id", "source", "family", "kind", "parameters", "weights", "licence"}
BUILT = {"input_shape", "features", "has_batchnorm", "groups", "preprocessing", "head"}
RENEW = "run `python -m hornbook.zoo.backbones.make_table`"


def test_it_is_fresh_for_ours():
    assert list_backbones("ours") == make.our_rows(), RENEW
    assert [row["id"] for row in list_backbones("ours")] == native_ids()


def test_it_is_fresh_for_kerass_names():
    ids = [row["id"] for row in list_backbones("keras")]
    assert ids == [f"keras/{name}" for name in ARCHITECTURES], RENEW


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "vgg16"])
def test_it_is_fresh_for_a_few_of_kerass(name):
    assert make.keras_rows([name]) == [find(f"keras/{name}")], RENEW


@pytest.mark.slow
def test_it_is_fresh_for_all_of_kerass():
    assert make.keras_rows() == list_backbones("keras"), RENEW


def test_it_is_fresh_for_kerashub():
    assert keras_hub.__version__.startswith("0.32.")
    assert list_backbones("hub") == make.hub_rows(), RENEW


def test_ids_are_unique_and_cards_complete():
    rows = read_table()
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        needed = CARD if row["source"] == "hub" else CARD | BUILT | {"paper"}
        assert needed <= set(row), row["id"]


@pytest.mark.parametrize(
    ("id", "millions"),
    # With their heads of 1000 classes, as Keras's documentation has them.
    [
        ("resnet50", 25.6),
        ("mobilenet_v2", 3.5),
        ("efficientnet_b0", 5.3),
        ("densenet121", 8.1),
        ("convnext_tiny", 28.6),
        ("inception_v3", 23.9),
    ],
)
def test_parameters_are_those_that_keras_tells(id, millions):
    row = find(f"keras/{id}")
    head = 1000 * (row["features"] + 1)
    assert (row["parameters"] + head) / 1e6 == pytest.approx(millions, abs=0.06)


def test_selection():
    resnets = list_backbones(family="resnet")
    assert {row["source"] for row in resnets} == {"ours", "keras", "hub"}
    small = list_backbones("keras", max_params=5e6)
    assert {"keras/mobilenet_v2", "keras/nasnet_mobile"} <= {r["id"] for r in small}
    assert all(row["parameters"] <= 5e6 for row in small)
    assert len(small) < len(list_backbones("keras"))


def test_what_is_not_there():
    with pytest.raises(InputError, match=r"similar ids are.*keras/resnet50.*resnet_50"):
        find("keras/resnet_50")
    with pytest.raises(
        InputError, match=r"family is unknown.*mobilenet_v2.*Received: x"
    ):
        list_backbones(family="x")
    with pytest.raises(InputError, match=r"hub, keras, ours. Received: timm"):
        list_backbones("timm")
