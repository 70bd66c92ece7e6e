"""Image and text backbones of KerasHub, by preset or from a folder.

KerasHub is an extra: `pip install 'hornbook[hub]'`.
"""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
from keras import layers

from hornbook.errors import InputError
from hornbook.zoo.backbones.backbone import FINE_TUNING, Backbone, describe
from hornbook.zoo.backbones.layer_groups import group_by_block

SIZE = (224, 224, 3)
# Up to the number of the block: transformer_layer_3, stack0_block1, block4a,
# vit_encoder/transformer_block_1. A layer without a number belongs to the block before.
BLOCK = r"^.*?(?:stage|stack|block|layer)s?_?\d+[a-z]?(?:_block_?\d+)?"
TEXT_INPUTS = {"token_ids", "padding_mask", "segment_ids"}


def import_hub() -> ModuleType:
    """Imports `keras_hub`.

    Raises:
        InputError: If it is not installed.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise InputError(
            "KerasHub's backbones need another package: pip install 'hornbook[hub]' "
            f"({error})"
        ) from error
    return keras_hub


def hub_kinds() -> dict[Any, str]:
    """The backbone classes of KerasHub that take only images or only text.

    Those that KerasHub has for other tasks than classification, such as detection, are
    left out.

    Returns:
        Dict from the class to "image" or "text".
    """
    hub = import_hub()

    def backbones(module: ModuleType, ending: str) -> set[Any]:
        members = inspect.getmembers(module, inspect.isclass)
        found = {
            getattr(each, "backbone_cls", None)
            for name, each in members
            if name.endswith(ending)
        }
        return found - {None}

    images = backbones(hub.layers, "ImageConverter")
    sounds = backbones(hub.layers, "AudioConverter")
    texts = backbones(hub.tokenizers, "Tokenizer")
    pairs = backbones(hub.models, "Seq2SeqLM")
    others = {
        each
        for ending in ("Detector", "Segmenter", "Estimator", "CausalLM")
        for each in backbones(hub.models, ending)
    } - backbones(hub.models, "ImageClassifier")
    kinds = dict.fromkeys(images - texts - sounds - others, "image")
    kinds |= dict.fromkeys(texts - images - sounds - pairs, "text")
    return dict(sorted(kinds.items(), key=lambda item: item[0].__name__))


def hub_presets() -> list[dict[str, Any]]:
    """A card for each preset of those classes, from the metadata of KerasHub.

    Returns:
        List of dicts, sorted by class, then by name.
    """
    cards = {}
    for cls, kind in hub_kinds().items():
        for name, preset in sorted(cls.presets.items()):
            about = preset["metadata"]
            handle = preset.get("kaggle_handle") or preset.get("hf_handle") or ""
            cards[name] = {
                "id": f"hub/{name}",
                "family": about["path"],
                "kind": kind,
                "parameters": about.get("params"),
                "weights": handle,
                "licence": "as the page of its weights says",
                "fine_tuning": dict(FINE_TUNING),
                "description": about["description"],
            }
    return list(cards.values())


def open_hub(
    place: str | os.PathLike,
    input_shape: tuple[int, int, int] | None = None,
    weights: str | os.PathLike | None = "default",
) -> Backbone:
    """Opens a backbone of KerasHub.

    Pixels are scaled as by the image converter of the preset, and features are averaged
    over positions. For text, the features are the pooled output if there is one, else
    the average over the tokens that are not padding.

    Args:
        place: Name of a preset, or path of a folder that `save_to_preset` wrote.
        input_shape: `(height, width, 3)`, for images. Defaults to the backbone's own.
        weights: "default" (the weights of the preset), `None` (random weights) or the
            path of a weights file for the same layers.

    Returns:
        A `Backbone`. For text, its `preprocess` tokenizes.

    Raises:
        InputError: If KerasHub is not installed, or the preset cannot be opened.
    """
    hub = import_hub()
    try:
        body = hub.models.Backbone.from_preset(
            str(place), load_weights=weights == "default"
        )
    except Exception as error:
        raise InputError(
            f"KerasHub cannot open the preset ({_first_line(error)}). Received: {place}"
        ) from error
    if weights not in (None, "default"):
        from hornbook.zoo.backbones.weights_file import load_own_weights

        load_own_weights(body, weights)
    inputs = body.input if isinstance(body.input, dict) else {}
    preprocess: Any = None
    if "token_ids" in inputs and set(inputs) <= TEXT_INPUTS:
        model, preprocess, card = _wrap_text(hub, place, body, inputs)
    elif not inputs and len(body.input.shape) == 4:
        model, _, card = _wrap_image(hub, place, body, input_shape)
    else:
        raise InputError(
            "Only backbones for images or text can be fine-tuned. "
            f"Received: {place}, {type(body).__name__} of "
            f"{', '.join(inputs) or body.input.shape}"
        )
    pairs = [(each.path, [each]) for each in body.trainable_variables]
    groups = group_by_block(pairs, BLOCK)
    id = f"hub:{place}" if Path(place).is_dir() else f"hub/{place}"
    card = {
        "id": id,
        "family": type(body).__name__,
        **describe(model, groups),
        **card,
        "weights": str(place) if weights == "default" else weights,
        "licence": "as the page of its weights says",
    }
    return Backbone(id, model, groups, card, preprocess)


def _wrap_image(
    hub: ModuleType,
    place: str | os.PathLike,
    body: keras.Model,
    input_shape: tuple[int, int, int] | None,
) -> tuple[keras.Model, None, dict[str, Any]]:
    try:
        converter = hub.layers.ImageConverter.from_preset(str(place))
    except Exception:  # a folder may hold only the backbone
        converter = None
    own = tuple(body.input.shape[1:])
    if None in own:  # what the preset was trained at, where it says so
        size = getattr(converter, "image_size", None)
        own = (*size, SIZE[-1]) if size and None not in size else SIZE
    shape = tuple(input_shape or own)
    pixels = keras.Input(shape, name="image")
    x, said = pixels, "none"
    if converter is not None and converter.scale is not None:
        scale, offset = converter.scale, converter.offset
        x = layers.Rescaling(scale, offset or 0.0, name="rescale")(x)
        said = f"pixels times {scale}, plus {offset or 0.0}, as the preset says"
    x = body(x)
    if isinstance(x, dict):
        x = x[max(x)]  # a feature pyramid: its last level
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    if len(x.shape) == 3:
        x = layers.GlobalAveragePooling1D(name="pool")(x)
    model = keras.Model(pixels, x, name="hub_image")
    return model, None, {"kind": "image", "preprocessing": said}


def _wrap_text(
    hub: ModuleType,
    place: str | os.PathLike,
    body: keras.Model,
    inputs: dict[str, keras.KerasTensor],
) -> tuple[keras.Model, Callable, dict[str, Any]]:
    tokens = {
        name: keras.Input(each.shape[1:], dtype=each.dtype, name=name)
        for name, each in inputs.items()
    }
    y = body(tokens)
    if isinstance(y, dict) and "pooled_output" in y:
        y = y["pooled_output"]
    else:
        y = y["sequence_output"] if isinstance(y, dict) else y
        mask = keras.ops.cast(tokens["padding_mask"], "bool")
        y = layers.GlobalAveragePooling1D(name="pool")(y, mask=mask)
    model = keras.Model(tokens, y, name="hub_text")
    try:
        preprocess = hub.models.TextClassifierPreprocessor.from_preset(str(place))
        if hasattr(body, "max_sequence_length"):
            preprocess.sequence_length = min(
                preprocess.sequence_length, body.max_sequence_length
            )
    except Exception as error:
        raise InputError(
            "The preset has no tokenizer for text classification "
            f"({_first_line(error)}). Received: {place}"
        ) from error
    card = {
        "kind": "text",
        "input_shape": {name: list(each.shape[1:]) for name, each in tokens.items()},
        "preprocessing": "the preset's tokenizer: `Backbone.preprocess(strings)`",
    }
    return model, preprocess, card


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
