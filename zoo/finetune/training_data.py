"""What is trained on, as the backbone takes it, and the question that labels ask."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from hornbook.errors import InputError
from hornbook.zoo.backbones.backbone import Backbone
from hornbook.zoo.finetune import task as tasks
from hornbook.zoo.finetune.inputs import Arrays, Pictures, Stream, as_source
from hornbook.zoo.finetune.task import Task
from hornbook.zoo.finetune.views import build_view, picture_size, resize_pictures

if TYPE_CHECKING:
    from hornbook.zoo.finetune.fine_tune import Settings


@dataclass
class TrainingData:
    """What a training reads.

    Attributes:
        train: `Arrays`, `Pictures` or a `Stream`.
        validation: The same, or None.
        task: The `Task`.
        counts: Examples of each class by name; empty for regression and for streams.
        first: A stream's first batch, or None.
    """

    train: Arrays | Stream
    validation: Arrays | Stream | None
    task: Task
    counts: dict[str, int]
    first: tuple | None


def takes_pictures(backbone: Backbone) -> bool:
    """Whether a backbone of the zoo takes pictures of one size."""
    shape = backbone.model.input_shape
    size = backbone.card.get("fine_tuning", {}).get("image_size")
    return (
        size is not None
        and isinstance(shape, tuple)
        and len(shape) == 4
        and shape[1] == shape[2] is not None
        and shape[3] in (1, 3)
    )


def read_training_data(
    settings: "Settings",
    backbone: Backbone,
    train: Any,
    validation: Any,
    classes: Any,
) -> TrainingData:
    """Reads what `fine_tune` was given.

    Args:
        settings: `Settings`.
        backbone: The `Backbone`.
        train: As for `fine_tune`.
        validation: As for `fine_tune`.
        classes: Names, how many, or None.

    Raises:
        InputError: if something does not fit.
    """
    source = _as_source(settings, backbone, train)
    if settings.save_freq and not isinstance(source, Arrays):
        raise InputError(
            "The state of a stream can be saved after each epoch only; for more, give "
            f"Keras's BackupAndRestore in callbacks. Received: "
            f"save_freq={settings.save_freq}"
        )
    first = None
    if isinstance(source, Arrays):
        source.y, classes = tasks.number_names(source.y, classes)
        labels = source.y
    else:
        first = next(iter(source.chunks(1)))
        labels = first[1]
    whole = isinstance(source, Arrays)
    task = tasks.read_task(settings.task, classes, labels, whole)
    if validation is not None:
        validation = _as_source(settings, backbone, validation)
        if isinstance(validation, Arrays):
            names = classes if settings.task == "classification" else None
            validation.y, _ = tasks.number_names(validation.y, names)
            tasks.read_task(settings.task, task.classes, validation.y, whole=True)
    counts = {}
    if whole and task.kind != "regression":
        counts = tasks.class_counts(source.y, task)
    return TrainingData(source, validation, task, counts, first)


def _as_source(settings, backbone, data):
    source = as_source(data, settings.batch_size, settings.steps_per_epoch)
    if not isinstance(source, Arrays):
        _check_stream(backbone, source)
        return source
    if backbone.preprocess is not None and not isinstance(source.x, dict):
        source.prepare(backbone.preprocess)
    if not takes_pictures(backbone):
        _check_shape(backbone, source)
        return source
    crop, channels = backbone.model.input_shape[1], backbone.model.input_shape[3]
    size = picture_size(crop) if settings.random_crop else crop
    images = resize_pictures(source.x, size, channels)
    options = {
        "sample_weight": source.sample_weight,
        "batch_size": settings.batch_size,
        "steps_per_epoch": settings.steps_per_epoch,
    }
    preset = settings.augment if isinstance(settings.augment, str) else None
    if not settings.random_crop and preset is None:
        return Arrays(images, source.y, **options)
    return Pictures(
        images,
        source.y,
        crop=crop,
        view=build_view(preset, crop),
        views=f"crops of {crop} from {size}, {preset}",
        **options,
    )


def _check_shape(backbone, source):
    """Pictures of another size than a model of the user's takes."""
    wanted, got = backbone.model.input_shape, getattr(source.x, "shape", None)
    if not isinstance(wanted, tuple) or got is None:
        return
    fits = len(wanted) == len(got) and all(
        side in (None, given) for side, given in zip(wanted[1:], got[1:], strict=True)
    )
    if not fits and len(wanted) == 4:
        raise InputError(
            f"The model takes inputs of shape {wanted[1:]}; resize them, or build it "
            f"for theirs. Received: x of shape={tuple(got)}"
        )


def _check_stream(backbone, source):
    """Batches of pictures of another size than the backbone takes."""
    wanted = backbone.model.input_shape
    spec = getattr(source.data, "element_spec", None)
    if spec is None or not isinstance(wanted, tuple) or len(wanted) != 4:
        return
    x = spec[0] if isinstance(spec, (tuple, list)) else spec
    got = tuple(getattr(x, "shape", ()) or ())
    if len(got) == 4 and any(
        None not in (side, given) and side != given
        for side, given in zip(wanted[1:], got[1:], strict=True)
    ):
        raise InputError(
            f"The backbone takes pictures of {wanted[1]}×{wanted[2]}; a stream is not "
            f"resized: give arrays, or resize in the stream. Received: batches of "
            f"shape={got}"
        )


def fingerprint(data: TrainingData, settings: "Settings") -> dict[str, Any]:
    """What has to be the same in all processes that train together."""
    sources = [data.train, data.validation]
    labels = [each.y for each in sources if isinstance(each, Arrays)]
    # Not a stream's first batch once more: its order may depend on how often.
    x, y, _ = data.first or next(data.train.chunks(64))
    digest = hashlib.sha256()
    for part in (*keras.tree.flatten(x), y, *labels):
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(part)))
    told = {
        name: value
        for name, value in vars(settings).items()
        if isinstance(value, (int, float, str))
        and name not in ("backup_dir", "log_dir")
    }
    return {**told, "The data, and their order,": digest.hexdigest()}
