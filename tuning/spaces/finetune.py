"""A backbone of the zoo, fine-tuned as `hornbook finetune` does it.

Over: the learning rate, the backbone's multiple of it, weight decay, dropout, label
smoothing, and whether pictures are changed at random. A trial is a whole fine-tuning
from the backbone's own weights, and the features of the frozen backbone are computed
once for all trials. Copy the file to search another backbone or other settings.
"""

from typing import Any

from hornbook.tuning.trials.fine_tuning import FineTuning

BACKBONE = "glyphnet.letters_rgb"
EPOCHS = 10


def settings(hp: Any) -> dict[str, Any]:
    """The settings of `fine_tune` for one trial: any of its keywords.

    Args:
        hp: `keras_tuner.HyperParameters`.
    """
    augment = hp.Choice("augment", ["none", "digits"])
    return {
        "optimizer": "adamw",
        "learning_rate": hp.Float(
            "learning_rate", 1e-3, 1e-1, sampling="log", default=3e-2
        ),
        "backbone_lr_multiplier": hp.Float(
            "backbone_lr_multiplier", 1e-2, 1, sampling="log", default=0.1
        ),
        "weight_decay": hp.Float("weight_decay", 1e-5, 1e-1, sampling="log"),
        "dropout": hp.Float("dropout", 0.05, 0.7, default=0.3),
        "label_smoothing": hp.Float("label_smoothing", 0.0, 0.2),
        "augment": None if augment == "none" else augment,
    }


def build(hp: Any, num_classes: int = 10, seed: int = 0) -> FineTuning:
    """A classifier whose training is the fine-tuning.

    Args:
        hp: `keras_tuner.HyperParameters`.
        num_classes: Integer. The number of classes.
        seed: Integer. Of the search; every trial has it, so that trials differ in
            their settings alone.
    """
    return FineTuning.of(BACKBONE, {**settings(hp), "seed": seed}, num_classes)
