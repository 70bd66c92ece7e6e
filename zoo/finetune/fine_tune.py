"""Fine-tunes any backbone: the function, and all that it can be told.

Each field of `Settings` is a keyword of `fine_tune`, a flag of `hornbook finetune`, a
line in config.json and a row in the report. Nothing heavy is imported until training
begins, since the command line reads the fields for its help.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hornbook.errors import InputError
from hornbook.fields import Checked, Group
from hornbook.zoo.finetune.checks import (
    BATCHNORM,
    OPTIMIZERS,
    PRESETS,
    STRATEGIES,
    TASKS,
    check_together,
    is_augment,
    is_optimizer,
    is_rate,
    number_or_text,
    parse_weights,
)

if TYPE_CHECKING:
    import keras

    from hornbook.progress import Progress
    from hornbook.zoo.backbones.backbone import Backbone
    from hornbook.zoo.finetune.feature_cache import FeatureCache
    from hornbook.zoo.finetune.fine_tuned import FineTuned

_TASK = Group("Task")
_PHASES = Group("What is trained when")
_OPTIMIZER = Group("Optimizer")
_REGULARIZATION = Group("Regularization and augmentation")
_PICTURES = Group("Pictures")
_LENGTH = Group("Length and batches")
_SPEED = Group("Speed")
_FILES = Group("Files")


@dataclasses.dataclass(frozen=True)
class Settings(Checked):
    """How a backbone is fine-tuned; `fine_tune` explains each field.

    Raises:
        InputError: if a value makes no sense, alone or beside another.

    Example:

    >>> Settings(strategy="layer_decay", layer_decay=0.9).epochs
    10
    """

    task: str = _TASK.choice(
        "classification", TASKS, "What the labels are: classes, several tags, numbers."
    )
    class_weight: Any = _TASK.any(
        None,
        "Weights of the classes in the loss: balanced, or cat=2,dog=1.",
        lambda value: value == "balanced" or isinstance(value, Mapping),
        "'balanced' or a dict from class to weight",
        kind=str,
        parse=parse_weights,
        shown="all alike",
    )
    strategy: str = _PHASES.choice(
        "head_then_all",
        STRATEGIES,
        "head_then_all: the head on a frozen backbone, then everything. linear_probe: "
        "the head alone. full: everything at once. gradual_unfreezing: one block more "
        "after another. layer_decay: everything, earlier blocks more slowly.",
    )
    freeze_epochs: int | None = _PHASES.integer(
        None,
        "Epochs of head_then_all in which the backbone is frozen.",
        low=1,
        shown="40 % of the epochs",
    )
    backbone_lr_multiplier: float = _PHASES.number(
        0.1, "Learning-rate multiplier for the backbone once it is unfrozen.", high=1
    )
    layer_decay: float = _PHASES.number(
        0.75, "Learning rate of each block, as a multiple of the next one's.", high=1
    )
    batchnorm: str | None = _PHASES.choice(
        None,
        BATCHNORM,
        "BatchNormalization in the backbone: frozen, update (it takes on the new "
        "data's statistics) or recalibrate (these, exactly, at the end).",
        shown="what suits the backbone",
    )
    optimizer: Any = _OPTIMIZER.any(
        "adam",
        f"One of {', '.join(OPTIMIZERS)}.",
        is_optimizer,
        f"one of {', '.join(OPTIMIZERS)}, or a Keras optimizer",
        kind=str,
    )
    learning_rate: Any = _OPTIMIZER.any(
        None,
        "Learning rate of the head, or auto: found on the training examples.",
        is_rate,
        "above 0, auto, or a Keras LearningRateSchedule",
        kind=str,
        parse=number_or_text,
        shown="what suits the backbone",
    )
    warmup_ratio: float = _OPTIMIZER.number(
        0.0, "Part of each phase in which the rate rises to its value.", high=1
    )
    weight_decay: float | None = _OPTIMIZER.number(
        None,
        "Decoupled weight decay of the kernels.",
        shown="none; adamw has Keras's 0.004",
    )
    global_clipnorm: float | None = _OPTIMIZER.number(
        None, "Largest norm of all gradients together.", above=True, shown="no limit"
    )
    gradient_accumulation_steps: int = _OPTIMIZER.integer(
        1, "Batches whose gradients are averaged for one step.", low=1
    )
    ema_momentum: float | None = _OPTIMIZER.number(
        None,
        "Momentum of a moving average of the weights, which is what is kept.",
        high=1,
        above=True,
        below=True,
        shown="no average",
    )
    dropout: float = _REGULARIZATION.number(
        0.3, "Dropout of the features before the head.", high=1, below=True
    )
    label_smoothing: float = _REGULARIZATION.number(0.0, "Label smoothing.", high=1)
    mixup: float = _REGULARIZATION.number(
        0.0, "Alpha of MixUp; 0 leaves it out.", high=1
    )
    cutmix: float = _REGULARIZATION.number(0.0, "Factor of CutMix; 0 leaves it out.")
    augment: Any = _REGULARIZATION.any(
        None,
        f"Random changes of the training pictures beyond crops: {', '.join(PRESETS)}.",
        is_augment,
        f"one of {', '.join(PRESETS)}, or a Keras layer",
        kind=str,
        shown="none",
    )
    image_size: int | None = _PICTURES.integer(
        None,
        "Side in pixels that the backbone is built for.",
        low=1,
        shown="the backbone's own",
    )
    random_crop: bool = _PICTURES.switch(
        True, "Train on random crops of pictures that are an eighth larger."
    )
    epochs: int = _LENGTH.integer(
        10, "Epochs over all phases, each of steps_per_epoch batches.", low=1
    )
    steps_per_epoch: int | None = _LENGTH.integer(
        None,
        "Batches in an epoch.",
        low=1,
        shown="one pass over the examples, at least 30",
    )
    minutes: float | None = _LENGTH.number(
        None,
        "Time for training, in place of epochs: the schedule is fitted to it.",
        above=True,
        shown="no limit",
    )
    patience: int | None = _LENGTH.integer(
        None,
        "Epochs without a lower validation loss before a phase ends.",
        low=1,
        shown="a third of the phase, at least 3",
    )
    batch_size: int = _LENGTH.integer(32, "Examples in a batch.", low=1)
    seed: int = _LENGTH.integer(
        0, "Chooses the examples and everything random in training."
    )
    mixed_precision: str | None = _SPEED.choice(
        None,
        ("float16", "bfloat16"),
        "Compute in float16 or bfloat16, with weights in float32.",
        shown="neither",
    )
    jit_compile: Any = _SPEED.any(
        "auto",
        "Compile by XLA: true, false or auto.",
        lambda value: isinstance(value, bool) or value == "auto",
        "True, False or auto",
        kind=str,
        parse={"true": True, "false": False}.get,
    )
    cached_views: int | None = _SPEED.integer(
        None,
        "Random views of each example whose features are cached for the head.",
        low=1,
        shown="up to 25",
    )
    devices: int = _SPEED.integer(
        1, "Devices of each machine that share each batch.", low=1
    )
    backup_dir: Any = _FILES.any(
        None, "Folder for the state of training, to go on after a kill."
    )
    save_freq: int | None = _FILES.integer(
        None, "Steps between two states.", low=1, shown="an epoch"
    )
    log_dir: Any = _FILES.any(None, "Folder for TensorBoard.", kind=str, shown="none")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_together(self)


def fine_tune(
    backbone: "str | Backbone | keras.Model",
    train: Any,
    validation_data: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    loss: Any = None,
    metrics: Sequence[Any] | None = None,
    callbacks: Iterable["keras.callbacks.Callback"] = (),
    cache: "str | FeatureCache | None" = "memory",
    verbose: str | int = "auto",
    progress: "Progress | None" = None,
    task: str = "classification",
    class_weight: str | Mapping[Any, float] | None = None,
    strategy: str = "head_then_all",
    freeze_epochs: int | None = None,
    backbone_lr_multiplier: float = 0.1,
    layer_decay: float = 0.75,
    batchnorm: str | None = None,
    optimizer: "str | keras.optimizers.Optimizer" = "adam",
    learning_rate: Any = None,
    warmup_ratio: float = 0.0,
    weight_decay: float | None = None,
    global_clipnorm: float | None = None,
    gradient_accumulation_steps: int = 1,
    ema_momentum: float | None = None,
    dropout: float = 0.3,
    label_smoothing: float = 0.0,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    augment: "str | keras.Layer | None" = None,
    image_size: int | None = None,
    random_crop: bool = True,
    epochs: int = 10,
    steps_per_epoch: int | None = None,
    minutes: float | None = None,
    patience: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    mixed_precision: str | None = None,
    jit_compile: bool | str = "auto",
    cached_views: int | None = None,
    devices: int = 1,
    backup_dir: Any = None,
    save_freq: int | None = None,
    log_dir: Any = None,
    **unknown: Any,
) -> "FineTuned":
    """Puts a new head on a backbone and trains both.

    The head is trained on features of the frozen backbone, which are computed once;
    then, by the same optimizer, whatever `strategy` says. Layers are frozen, unfrozen
    and slowed by multipliers of the learning rate, so that the training step is
    compiled once and the optimizer's moments are kept. `hornbook finetune` calls this
    function: the same data, seed and settings give the same weights, bit for bit.

    Pictures may be of any one size. They are resized, short side first, to an eighth
    more than the backbone takes, and cut to its size: at random in training, in the
    middle otherwise. A `keras.Model` of your own gets its inputs as they are.

    For several machines, start the same script on each with JAX as Keras's backend and
    the variables that `keras.distribution.initialize` reads; the guide "Fine-tuning"
    has an example.

    Args:
        backbone: An id that `open_backbone` knows, a `Backbone`, or a built
            `keras.Model` from inputs to features. It is trained in place.
        train: `(x, y)` or `(x, y, sample_weight)`; or a `tf.data.Dataset` or
            `keras.utils.PyDataset` of batches of these, that ends. `x` is an array of
            raw pixels, 0 to 255, of shape `(examples, height, width, channels)`,
            strings for a text backbone, or whatever else the backbone takes. `y` holds
            integers, names or one-hot rows.
        validation_data: The same, or None. With it each phase ends early where the
            loss no longer falls, and the best weights are kept.
        class_names: Names of the classes, in the order of the integers.
        num_classes: How many classes there are, where a stream does not tell.
        loss: Any Keras loss; None for that of the task.
        metrics: Any Keras metrics; None for those of the task.
        callbacks: Keras callbacks. They see one training: epochs count on over the
            phases, and `logs["phase"]` tells the phase, from 1.
        cache: Where features of the frozen backbone are kept: "memory", a folder, or a
            `FeatureCache`, which several calls can share. None keeps none.
        verbose: "auto" shows progress in a notebook, 1 always, 0 never.
        progress: A `Progress` to show it on.
        task: "classification", "multi_label" (rows of 0 and 1) or "regression"
            (numbers, which are standardized for training only).
        class_weight: "balanced", or a dict from class name or number to weight.
        strategy: "head_then_all" (the head on a frozen backbone, then everything),
            "linear_probe" (the head alone), "full" (everything at once),
            "gradual_unfreezing" (one block more after another, from the head down) or
            "layer_decay" (everything, each block at `layer_decay` of the next's rate).
        freeze_epochs: Epochs of "head_then_all" with a frozen backbone; 40 % of
            `epochs` by default.
        backbone_lr_multiplier: Learning-rate multiplier of the backbone, 0 to 1.
        layer_decay: As `strategy` says, 0 to 1.
        batchnorm: "frozen" holds the statistics, scales and shifts of the backbone's
            BatchNormalization layers, "update" trains them, "recalibrate" also ends
            with the exact statistics of the training examples. None takes what the
            backbone's card says.
        optimizer: A name, or any Keras optimizer with its own learning rate.
        learning_rate: Of the head. It falls to 0 as a cosine within each phase. None
            takes what the backbone's card says, "auto" finds it on the training
            examples, and a Keras `LearningRateSchedule` runs over all steps.
        warmup_ratio: Part of each phase in which the rate rises, 0 to 1.
        weight_decay: Decoupled; biases and normalization are left out.
        global_clipnorm: Largest norm of all gradients together.
        gradient_accumulation_steps: Batches whose gradients are averaged for a step.
        ema_momentum: Of a moving average of the weights, which is what is kept.
        dropout: Of the features before the head, from 0 to below 1.
        label_smoothing: 0 to 1.
        mixup: Alpha of `keras.layers.MixUp`, 0 to 1.
        cutmix: Factor of `keras.layers.CutMix`. With both, each batch gets one.
        augment: A preset of `ImageAugmentation`, or a Keras layer that changes inputs
            at random in training.
        image_size: Side in pixels that the backbone of an id is built for.
        random_crop: False resizes pictures to the backbone's size and cuts nothing.
        epochs: Over all phases.
        steps_per_epoch: Batches in an epoch of arrays. By default a pass over them, or
            30 batches where that is less: few examples need as many steps as many.
        minutes: Time for training in place of `epochs`. The schedule is fitted to it,
            so that the rate has fallen to 0 at its end.
        patience: Epochs without a lower validation loss before a phase ends; by
            default a third of the phase, at least 3.
        batch_size: Examples in a batch of arrays. Streams bring their own batches.
        seed: For the head's weights, the order, the crops and the dropout. On
            TensorFlow, deterministic ops are on while it trains.
        mixed_precision: "float16", "bfloat16" or None.
        jit_compile: As for `keras.Model.compile`.
        cached_views: Random views of each example whose features are cached.
        devices: How many devices of each process share each batch.
        backup_dir: Folder for the state of training: called again after a kill, the
            training goes on and ends with the same bits.
        save_freq: Steps between two states; by default an epoch.
        log_dir: Folder for TensorBoard.
        **unknown: Refused, with the name that was meant.

    Returns:
        A `FineTuned`, with `model`, `history`, `evaluate`, `predict`, `plot`, `save`.

    Raises:
        InputError: before anything is trained, if something makes no sense.
        LossNotFinite: if the loss becomes NaN or infinite.

    Example:

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.integers(0, 256, (16, 36, 36, 3), dtype="uint8"), np.arange(16) % 2
    >>> tuned = fine_tune("glyphnet.letters_rgb", (x, y), epochs=2, steps_per_epoch=2)
    >>> [row["phase"] for row in tuned.history], tuned.class_counts
    (['head', 'all'], {'0': 8, '1': 8})
    >>> tuned.predict(x).shape
    (16, 2)
    """
    given = locals()
    settings = Settings.of(
        {field.name: given[field.name] for field in dataclasses.fields(Settings)}
        | unknown
    )
    if class_names is not None and num_classes not in (None, len(class_names)):
        raise InputError(
            f"num_classes must be the number of class_names, {len(class_names)}. "
            f"Received: num_classes={num_classes}"
        )
    from hornbook.zoo.finetune.start import train_as_told

    return train_as_told(
        settings,
        backbone,
        train,
        validation_data,
        classes=class_names if class_names is not None else num_classes,
        loss=loss,
        metrics=metrics,
        callbacks=tuple(callbacks),
        cache=cache,
        verbose=verbose,
        progress=progress,
    )
