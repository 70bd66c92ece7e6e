"""What the settings of fine-tuning allow, alone and beside one another."""

import math
from typing import TYPE_CHECKING, Any, NoReturn

from hornbook.fields import refuse

if TYPE_CHECKING:
    from hornbook.zoo.finetune.fine_tune import Settings

TASKS = ("classification", "multi_label", "regression")
STRATEGIES = (
    "head_then_all",
    "linear_probe",
    "full",
    "gradual_unfreezing",
    "layer_decay",
)
BATCHNORM = ("frozen", "update", "recalibrate")
OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "lion", "adafactor", "lamb", "muon")
PRESETS = ("digits", "light", "strong", "imagenet_train")


def parse_weights(text: str) -> str | dict[str, float]:
    """Reads class weights as a flag has them.

    Example:

    >>> parse_weights("cat=2,dog=1"), parse_weights("balanced")
    ({'cat': 2.0, 'dog': 1.0}, 'balanced')
    """
    if "=" not in text:
        return text
    try:
        pairs = (part.rsplit("=", 1) for part in text.split(","))
        return {name.strip(): float(weight) for name, weight in pairs}
    except ValueError:
        refuse("class_weight", "balanced, or NAME=WEIGHT,NAME=WEIGHT", text)


def number_or_text(text: str) -> float | str:
    """A flag that takes a number or a word."""
    try:
        return float(text)
    except ValueError:
        return text


def is_rate(value: Any) -> bool:
    """Whether a value can be a learning rate."""
    if isinstance(value, bool):
        return False
    if isinstance(value, (int, float)):
        return 0 < value < math.inf
    return value == "auto" or callable(value)


def is_optimizer(value: Any) -> bool:
    """Whether a value is an optimizer's name or an optimizer."""
    return value in OPTIMIZERS if isinstance(value, str) else hasattr(value, "apply")


def is_augment(value: Any) -> bool:
    """Whether a value is a preset's name or a layer."""
    return value in PRESETS if isinstance(value, str) else callable(value)


def check_together(settings: "Settings") -> None:
    """Refuses a setting that another one leaves without effect.

    Raises:
        InputError: if there is one.
    """
    if settings.class_weight and settings.task != "classification":
        _refuse_beside(settings, "class_weight", "task")
    for name in ("mixup", "cutmix"):
        if getattr(settings, name) and settings.task != "classification":
            _refuse_beside(settings, name, "task")
    if settings.label_smoothing and settings.task == "regression":
        _refuse_beside(settings, "label_smoothing", "task")
    frozen = settings.strategy == "linear_probe" or settings.backbone_lr_multiplier == 0
    if frozen and settings.batchnorm not in (None, "frozen"):
        refuse(
            "batchnorm", "left out or frozen where the backbone is", settings.batchnorm
        )
    alone_first = settings.strategy in ("head_then_all", "gradual_unfreezing")
    if alone_first and settings.epochs < 2:
        refuse(
            "epochs", f"at least 2 for {settings.strategy}, two phases", settings.epochs
        )
    if settings.freeze_epochs is not None:
        if settings.strategy != "head_then_all":
            _refuse_beside(settings, "freeze_epochs", "strategy")
        if settings.freeze_epochs >= settings.epochs:
            refuse(
                "freeze_epochs",
                f"below epochs={settings.epochs}",
                settings.freeze_epochs,
            )
    named = isinstance(settings.optimizer, str)
    if not named:
        for name in (
            "learning_rate",
            "weight_decay",
            "global_clipnorm",
            "ema_momentum",
        ):
            if getattr(settings, name) is not None:
                _refuse_beside(settings, name, "optimizer")
    if settings.gradient_accumulation_steps > 1 and not named:
        _refuse_beside(settings, "gradient_accumulation_steps", "optimizer")
    if settings.warmup_ratio and (callable(settings.learning_rate) or not named):
        other = "learning_rate" if named else "optimizer"
        _refuse_beside(settings, "warmup_ratio", other)
    if settings.minutes is not None:
        for name in ("backup_dir", "gradient_accumulation_steps"):
            if getattr(settings, name) not in (None, 1):
                _refuse_beside(settings, name, "minutes")
        if callable(settings.learning_rate) or not isinstance(settings.optimizer, str):
            refuse(
                "minutes", "left out beside a schedule of your own", settings.minutes
            )


def _refuse_beside(settings, name, other) -> NoReturn:
    beside = getattr(settings, other)
    beside = f"{other}={beside}" if isinstance(beside, (str, float, int)) else other
    allowed = f"left out beside {beside}, where it has no effect"
    refuse(name, allowed, getattr(settings, name))
