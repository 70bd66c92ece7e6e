"""Opens a backbone by its id, wherever it comes from. Only this module parses ids."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing Keras takes seconds: see `hornbook zoo list`
    from hornbook.zoo.backbones.backbone import Backbone


def open_backbone(
    id: str | os.PathLike,
    *,
    input_shape: tuple[int, int, int] | None = None,
    weights: str | os.PathLike | None = "default",
    safe_mode: bool = True,
) -> "Backbone":
    """Opens a backbone.

    Args:
        id: One of

            - one of ours: "glyphnet.letters_rgb" with its weights, "resnet20" without;
            - "keras/NAME": an architecture of `keras.applications`;
            - "hub/PRESET" or "hub:FOLDER": a KerasHub preset, by its name or from a
              folder that `save_to_preset` wrote;
            - the path of a `.keras` file, or of a folder with a `model.keras` such as a
              run folder: the model up to its head.
        input_shape: `(height, width, channels)`. Defaults to the backbone's own.
        weights: "default" (the weights on its card, if it has any), `None` (random
            weights) or the path of a weights file.
        safe_mode: Whether to refuse a `.keras` file that carries code, as in
            `keras.saving.load_model`.

    Returns:
        A `Backbone`.

    Raises:
        InputError: If there is no such backbone, or its weights cannot be loaded.

    Example:

    >>> backbone = open_backbone("glyphnet.letters_rgb")
    >>> backbone.model.output_shape, len(backbone.groups)
    ((None, 128), 4)
    >>> backbone.card["fine_tuning"]
    {'learning_rate': 0.03, 'batchnorm': 'update', 'image_size': 32}
    """
    id = str(id)
    if id.startswith("keras/"):
        from hornbook.zoo.backbones.keras_applications import open_application

        return open_application(id.removeprefix("keras/"), input_shape, weights)
    if id.startswith(("hub/", "hub:")):
        from hornbook.zoo.backbones.keras_hub import open_hub

        return open_hub(id[4:], input_shape, weights)
    if Path(id).exists():
        from hornbook.zoo.backbones.from_keras_file import open_file

        return open_file(id, input_shape, weights, safe_mode)
    from hornbook.zoo.backbones.shipped import open_native

    return open_native(id, input_shape, weights)
