"""Image and text backbones of KerasHub, by preset or from a folder. An extra: `hub`."""

import inspect
from pathlib import Path

import keras
from keras import layers

from hornbook.errors import InputError
from hornbook.zoo.backbones.backbone import FINE_TUNING, Backbone, describe
from hornbook.zoo.backbones.layer_groups import group_by_block

SIZE = (224, 224, 3)
# Up to the number of the block: transformer_layer_3, stack0_block1, block4a,
# vit_encoder/transformer_block_1. What has none belongs to the block before it.
BLOCK = r"^.*?(?:stage|stack|block|layer)s?_?\d+[a-z]?(?:_block_?\d+)?"
TEXT_INPUTS = {"token_ids", "padding_mask", "segment_ids"}


def import_hub():
    """The `keras_hub` module.

    Raises:
        InputError: if it is not installed.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise InputError(
            "KerasHub's backbones need one more package: pip install 'hornbook[hub]' "
            f"({error})"
        ) from error
    return keras_hub


def hub_kinds():
    """KerasHub's backbone classes that take pictures alone, or text alone.

    Those that KerasHub has for another task and not for classification, such as its
    detectors, are left out.

    Returns:
        Dict from the class to "image" or "text".
    """
    hub = import_hub()

    def backbones(module, ending):
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


def hub_presets():
    """A card for each preset of those classes, from what KerasHub says of them.

    Returns:
        List of dicts, by class, then by name.
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


def open_hub(place, input_shape=None, weights="default"):
    """Opens a backbone of KerasHub.

    Pictures are scaled as the preset's image converter says, and the mean over places
    is taken. Of text, the pooled output is taken where there is one, else the mean over
    the tokens that are not padding.

    Args:
        place: The name of a preset, or the path of a folder that `save_to_preset`
            wrote.
        input_shape: `(height, width, 3)`, for pictures; None for the backbone's own.
        weights: "default" (the preset's), None (random) or the path of a weights file
            of the same layers.

    Returns:
        A `Backbone`. For text, its `preprocess` tokenizes.

    Raises:
        InputError: if KerasHub is not installed, or the preset can't be had.
    """
    hub = import_hub()
    try:
        body = hub.models.Backbone.from_preset(
            str(place), load_weights=weights == "default"
        )
    except Exception as error:
        raise InputError(
            f"KerasHub can't open the preset: {place} ({_first_line(error)})"
        ) from error
    if weights not in (None, "default"):
        from hornbook.zoo.backbones.weights_file import load_own_weights

        load_own_weights(body, weights)
    inputs = body.input if isinstance(body.input, dict) else {}
    if "token_ids" in inputs and set(inputs) <= TEXT_INPUTS:
        model, preprocess, card = _wrap_text(hub, place, body, inputs)
    elif not inputs and len(body.input.shape) == 4:
        model, preprocess, card = _wrap_image(hub, place, body, input_shape)
    else:
        raise InputError(
            "Only backbones that take pictures or text can be fine-tuned here. "
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


def _wrap_image(hub, place, body, input_shape):
    own = tuple(body.input.shape[1:])
    shape = tuple(input_shape or (SIZE if None in own else own))
    pixels = keras.Input(shape, name="image")
    x, said = pixels, "none"
    try:
        converter = hub.layers.ImageConverter.from_preset(str(place))
    except Exception:  # a folder may hold the backbone alone
        converter = None
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


def _wrap_text(hub, place, body, inputs):
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
            f"The preset has no tokenizer for text classification: {place} "
            f"({_first_line(error)})"
        ) from error
    card = {
        "kind": "text",
        "input_shape": {name: list(each.shape[1:]) for name, each in tokens.items()},
        "preprocessing": "the preset's tokenizer: `Backbone.preprocess(strings)`",
    }
    return model, preprocess, card


def _first_line(error):
    return str(error).partition("\n")[0] or type(error).__name__
