"""Opens a backbone by its id, wherever it comes from."""

from pathlib import Path

from hornbook.zoo.backbones.shipped import open_native


def open_backbone(id, *, input_shape=None, weights="default", safe_mode=True):
    """Opens a backbone.

    Args:
        id: One of

            - ours: "glyphnet.letters_rgb" with its weights, "resnet20" without;
            - "keras/NAME": an architecture of `keras.applications`;
            - "hub/PRESET" or "hub:FOLDER": of KerasHub, by its name or from a folder
              that `save_to_preset` wrote;
            - the path of a `.keras` file, or of a run folder or model in a zoo folder:
              what it has up to its head.
        input_shape: `(height, width, channels)`; None for the backbone's own.
        weights: "default" (those of its card, if it has any), None (random) or the path
            of a weights file of the same layers.
        safe_mode: Whether to refuse a `.keras` file that carries code.

    Returns:
        A `Backbone`.

    Raises:
        InputError: if there is no such backbone, or its weights can't be had.

    Example:

    >>> backbone = open_backbone("glyphnet.letters_rgb")
    >>> backbone.model.output_shape, len(backbone.groups)
    ((None, 128), 4)
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
    return open_native(id, input_shape, weights)
