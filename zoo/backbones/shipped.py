"""Our own backbones, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras

from hornbook.errors import InputError
from hornbook.zoo.backbones.backbone import Backbone, describe
from hornbook.zoo.backbones.cifar_resnet import cifar_resnet
from hornbook.zoo.backbones.glyphnet import SMALL_WIDTHS, glyphnet
from hornbook.zoo.backbones.layer_groups import group_by_block
from hornbook.zoo.backbones.maxout_network import maxout_network
from hornbook.zoo.backbones.shipped_weights import read_card, weight_ids, weights_path
from hornbook.zoo.backbones.weights_file import load_own_weights
from hornbook.zoo.backbones.wide_resnet import wide_resnet

RESNET = "He et al., Deep Residual Learning for Image Recognition, CVPR 2016"


@dataclass(frozen=True)
class Architecture:
    """How one of our backbones is built, and where it is from.

    Attributes:
        family: What it is a size of.
        build: Function of `input_shape`, or of nothing for 32×32 pixels in colour.
        paper: Where it is from.
        block: As `group_by_block` takes it.
    """

    family: str
    build: Callable[..., keras.Model]
    paper: str
    block: str = r"stage\d_block\d+|last"


ARCHITECTURES = {
    "glyphnet": Architecture("glyphnet", glyphnet, f"after {RESNET}", r"block\d+"),
    "glyphnet_small": Architecture(
        "glyphnet",
        partial(glyphnet, widths=SMALL_WIDTHS, name="glyphnet_small"),
        f"after {RESNET}",
        r"block\d+",
    ),
    "resnet20": Architecture("resnet", partial(cifar_resnet, 20), RESNET),
    "resnet32": Architecture("resnet", partial(cifar_resnet, 32), RESNET),
    "resnet56": Architecture("resnet", partial(cifar_resnet, 56), RESNET),
    "wide_resnet16_4": Architecture(
        "wide_resnet",
        wide_resnet,
        "Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016",
    ),
    "maxout": Architecture(
        "maxout",
        maxout_network,
        "Goodfellow et al., Maxout Networks, ICML 2013",
        r"block\d+",
    ),
}


def native_ids():
    """The ids of our backbones: architectures, then those with weights.

    Example:

    >>> native_ids()[:3]
    ['glyphnet', 'glyphnet_small', 'resnet20']
    """
    return [*ARCHITECTURES, *weight_ids()]


def build_native(architecture, input_shape=None):
    """Builds one of our architectures, with random weights.

    Args:
        architecture: A key of `ARCHITECTURES`.
        input_shape: `(height, width, channels)`; None for 32×32 pixels in colour.

    Returns:
        A `keras.Model`.
    """
    build = ARCHITECTURES[architecture].build
    return build() if input_shape is None else build(input_shape=tuple(input_shape))


def open_native(id, input_shape=None, weights="default"):
    """Opens one of our backbones.

    Args:
        id: One of `native_ids()`.
        input_shape: `(height, width, channels)`; None for that of the card.
        weights: "default" (the shipped ones, where the id names them), None (random) or
            the path of a weights file.

    Returns:
        A `Backbone`.

    Raises:
        InputError: if there is no such backbone, or its weights can't be had.
    """
    name = id.partition(".")[0]
    if id not in native_ids():
        raise InputError(
            f"There is no backbone of that name; there are {', '.join(native_ids())}, "
            f"and what `hornbook zoo list` names. Received: {id}"
        )
    card = read_card(id) if id in weight_ids() else {"id": id}
    given = tuple(input_shape or card.get("input_shape", (32, 32, 3)))
    if weights == "default" and "input_shape" in card:
        if given[-1] != card["input_shape"][-1]:
            raise InputError(
                f"The weights of {id} are for {card['input_shape'][-1]} channels. "
                f"Received: input_shape={given}"
            )
        weights = weights_path(id)
    model = build_native(name, given)
    if weights not in (None, "default"):
        load_own_weights(model, weights)
    architecture = ARCHITECTURES[name]
    pairs = [(layer.name, layer.trainable_variables) for layer in model.layers]
    groups = group_by_block(pairs, architecture.block)
    card = {
        "family": architecture.family,
        "preprocessing": "pixels to -1 to 1",
        "weights": f"shipped: {card['data']}" if "data" in card else None,
        "licence": "Apache-2.0",
        "paper": architecture.paper,
        **card,
        **describe(model, groups),
    }
    return Backbone(id, model, groups, card)
