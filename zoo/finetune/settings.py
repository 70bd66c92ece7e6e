"""How `fine_tune` trains: a frozen set of numbers and names, checked when made."""

import difflib
import math
from dataclasses import dataclass, fields

from hornbook.errors import InputError
from hornbook.zoo.runs.config import BATCHNORM, MIXED, STRATEGIES

TASKS = ("classification", "multi_label", "regression")


@dataclass(frozen=True)
class Settings:
    """What `fine_tune` can be told about training.

    Attributes:
        task: "classification" (labels are integers, names or one-hot rows),
            "multi_label" (rows of 0 and 1) or "regression" (numbers).
        strategy: What is trained when:

            - "probe": the head alone.
            - "full": all from the beginning, the backbone at `backbone_rate`.
            - "thaw": the head first, then all at `backbone_rate`.
            - "gradual": the head first, then one block more after another from the
              head down, in equal parts of the epochs.
            - "layer_decay": all from the beginning, each block at `decay` times the
              rate of the one after it.
        batchnorm: "frozen" holds the backbone's BatchNormalization layers as they
            are, their scales and shifts too. "update" trains them, so that they take
            on the statistics of the new data, batch by batch. "recalibrate" does the
            same and ends with the exact statistics of the training examples.
        epochs: Over all phases, passes over the training examples.
        batch_size: Examples in a batch, of arrays. Streams bring their own batches.
        seed: For the head's weights, the order and the dropout.
        rate: Adam's learning rate for the head. It falls to 0 as a cosine within each
            phase. Or a Keras `LearningRateSchedule` over all steps.
        backbone_rate: Multiple of it at which the backbone is trained.
        head_share: Part of the epochs that the head is trained alone by "thaw".
        decay: Of "layer_decay".
        dropout: Of the features, before the head.
        label_smoothing: 0 to 1.
        class_weight: Dict from class number to weight, "balanced", or None.
        mixup: Alpha of Keras's `MixUp`; 0 leaves it out.
        cutmix: Factor of Keras's `CutMix`; 0 leaves it out. With both, each batch is
            mixed by one of them.
        ema: Momentum of the moving average of the weights that is kept, or None.
        mixed_precision: "float16", "bfloat16" or None. The model comes back in the
            precision it had.
        xla: Keras's `jit_compile`: True, False or "auto".
        accumulate: How many batches the gradients are averaged over for one step.
        views: How many views of each example are cached, which makes sense where
            `augment` or a stream changes them at random. None means 10 with
            `augment`, else 1.
        patience: Epochs without a better validation loss before a phase ends. None
            means a third of the phase, at least 3.
        devices: How many devices share each batch; of several processes, how many of
            each.
        checkpoint: Folder for the state of training, to go on after a kill, or None.
            Process 0 writes it, and all read it.
        checkpoint_every: Steps between two states; None means an epoch. A row of the
            history is then as long.
        tensorboard: Folder for TensorBoard, or None.

    Raises:
        InputError: if a value makes no sense.

    Example:

    >>> Settings(strategy="layer_decay", decay=0.9).batchnorm
    'frozen'
    """

    task: str = "classification"
    strategy: str = "thaw"
    batchnorm: str = "frozen"
    epochs: int = 10
    batch_size: int = 32
    seed: int = 0
    rate: object = 1e-3
    backbone_rate: float = 0.1
    head_share: float = 0.4
    decay: float = 0.75
    dropout: float = 0.3
    label_smoothing: float = 0.0
    class_weight: object = None
    mixup: float = 0.0
    cutmix: float = 0.0
    ema: float | None = None
    mixed_precision: str | None = None
    xla: object = "auto"
    accumulate: int = 1
    views: int | None = None
    patience: int | None = None
    devices: int = 1
    checkpoint: object = None
    checkpoint_every: int | None = None
    tensorboard: object = None

    def __post_init__(self):
        def require(good, name, what):
            if not good:
                value = getattr(self, name)
                raise InputError(f"{name} must be {what}. Received: {name}={value!r}")

        def at_least(low, *names):
            for name in names:
                value = getattr(self, name)
                good = isinstance(value, int) and value >= low
                require(good, name, f"an integer of at least {low}")

        def among(choices, *names):
            for name in names:
                known = getattr(self, name) in choices
                listed = ", ".join(map(repr, choices))
                require(known, name, f"one of {listed}")

        def within(low, high, *names):
            for name in names:
                value = getattr(self, name)
                good = isinstance(value, (int, float)) and low <= value <= high
                require(good, name, f"a number from {low} to {high}")

        among(TASKS, "task")
        among(STRATEGIES, "strategy")
        among(BATCHNORM, "batchnorm")
        among((None, *MIXED), "mixed_precision")
        among((True, False, "auto"), "xla")
        at_least(1, "epochs", "batch_size", "accumulate", "devices")
        at_least(0, "seed")
        for name in ("views", "patience", "checkpoint_every"):
            if getattr(self, name) is not None:
                at_least(1, name)
        within(0, 1, "backbone_rate", "head_share", "decay", "label_smoothing")
        within(0, 1, "mixup")
        within(0, math.inf, "cutmix")
        require(0 <= self.dropout < 1, "dropout", "at least 0 and below 1")
        require(self.ema is None or 0 < self.ema < 1, "ema", "None or between 0 and 1")
        require(
            callable(self.rate)
            or (isinstance(self.rate, (int, float)) and 0 < self.rate < math.inf),
            "rate",
            "above 0, or a LearningRateSchedule",
        )
        require(
            self.class_weight in (None, "balanced")
            or isinstance(self.class_weight, dict),
            "class_weight",
            "a dict, 'balanced' or None",
        )
        require(
            self.checkpoint_every is None or self.checkpoint is not None,
            "checkpoint_every",
            "None without a checkpoint folder",
        )
        self._check_together(require)

    def _check_together(self, require):
        of_classes = self.task == "classification"
        for name in ("class_weight", "mixup", "cutmix"):
            value = getattr(self, name)
            require(
                of_classes or not value,
                name,
                f"left out: it is for classification, and task is {self.task!r}",
            )
        require(
            self.task != "regression" or not self.label_smoothing,
            "label_smoothing",
            "0 for regression",
        )
        require(
            self.strategy != "probe" or self.batchnorm == "frozen",
            "batchnorm",
            "'frozen' for a probe, which leaves the backbone as it is",
        )
        alone_first = self.strategy in ("thaw", "gradual")
        require(
            self.epochs >= 2 or not alone_first,
            "epochs",
            f"at least 2 for {self.strategy!r}, the head first",
        )

    @classmethod
    def of(cls, options):
        """Settings from keyword arguments.

        Raises:
            InputError: if one is not known, too.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f", perhaps {near[0]}" if near else ""
                raise InputError(f"There is no setting of that name{hint}: {name}")
        return cls(**options)
