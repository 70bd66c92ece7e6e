"""Our own backbones, by id: a row for each architecture.

A new family is a builder in a file of its own, and its rows here.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

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

# Small networks, trained from their first step with the statistics of the new data.
GLYPHNET_FINE_TUNING = {"learning_rate": 0.03, "batchnorm": "update"}
RESNET = "He et al., Deep Residual Learning for Image Recognition, CVPR 2016"


@dataclass(frozen=True)
class Architecture:
    """How one of our backbones is built, and where it comes from.

    Attributes:
        family: The family that it is a size of.
        build: Function of `input_shape`, which defaults to 32×32 pixels in colour.
        paper: The paper that describes it.
        block: Regular expression for the names of its blocks, as for `group_by_block`.
        fine_tuning: Its own defaults of fine-tuning, as for `describe`.
    """

    family: str
    build: Callable[..., keras.Model]
    paper: str
    block: str = r"stage\d_block\d+|last"
    fine_tuning: Mapping[str, Any] = field(default_factory=dict)


ARCHITECTURES = {
    "glyphnet": Architecture(
        "glyphnet", glyphnet, f"after {RESNET}", r"block\d+", GLYPHNET_FINE_TUNING
    ),
    "glyphnet_small": Architecture(
        "glyphnet",
        partial(glyphnet, widths=SMALL_WIDTHS, name="glyphnet_small"),
        f"after {RESNET}",
        r"block\d+",
        GLYPHNET_FINE_TUNING,
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


def native_ids() -> list[str]:
    """The ids of our backbones: first the architectures, then those with weights.

    Example:

    >>> native_ids()[:3]
    ['glyphnet', 'glyphnet_small', 'resnet20']
    """
    return [*ARCHITECTURES, *weight_ids()]


def build_native(
    architecture: str, input_shape: tuple[int, int, int] | None = None
) -> keras.Model:
    """Builds one of our architectures with random weights.

    Args:
        architecture: A key of `ARCHITECTURES`.
        input_shape: `(height, width, channels)`. Defaults to `(32, 32, 3)`.

    Returns:
        A `keras.Model` from raw pixels to features `(batch, n)`.
    """
    build = ARCHITECTURES[architecture].build
    return build() if input_shape is None else build(input_shape=tuple(input_shape))


def open_native(
    id: str,
    input_shape: tuple[int, int, int] | None = None,
    weights: str | os.PathLike | None = "default",
) -> Backbone:
    """Opens one of our backbones.

    Args:
        id: One of `native_ids()`.
        input_shape: `(height, width, channels)`. Defaults to the one on the card.
        weights: "default" (the shipped weights, if the id names them), `None` (random
            weights) or the path of a weights file.

    Returns:
        A `Backbone`.

    Raises:
        InputError: If there is no such backbone, or its weights cannot be loaded.
    """
    if id not in native_ids():
        raise InputError(
            f"The backbone is unknown. Ours are {', '.join(native_ids())}; `hornbook "
            f"zoo list` lists the others. Received: {id}"
        )
    shipped = id in weight_ids()
    card: dict[str, Any] = read_card(id) if shipped else {"id": id, "architecture": id}
    given = tuple(input_shape or card.get("input_shape", (32, 32, 3)))
    if weights == "default" and shipped:
        if given[-1] != card["input_shape"][-1]:
            raise InputError(
                f"The weights of {id} are for {card['input_shape'][-1]} channels. "
                f"Received: input_shape={given}"
            )
        weights = weights_path(id)
    model = build_native(card["architecture"], given)
    if weights not in (None, "default"):
        load_own_weights(model, weights)
    architecture = ARCHITECTURES[card["architecture"]]
    pairs = [(layer.name, layer.trainable_variables) for layer in model.layers]
    groups = group_by_block(pairs, architecture.block)
    card = {
        "family": architecture.family,
        "preprocessing": "pixels to -1 to 1",
        "weights": f"shipped: {card['data']}" if "data" in card else None,
        "licence": "Apache-2.0",
        "paper": architecture.paper,
        **card,
        **describe(model, groups, architecture.fine_tuning),
    }
    return Backbone(id, model, groups, card)
