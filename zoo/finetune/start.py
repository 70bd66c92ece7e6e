"""Checks what `fine_tune` was told, asks the backbone's card, and starts a training."""

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

import keras

from hornbook.fields import refuse
from hornbook.progress import Bars, Progress, in_notebook
from hornbook.zoo.finetune import processes
from hornbook.zoo.finetune.as_backbone import as_backbone
from hornbook.zoo.finetune.deterministic import deterministic_ops
from hornbook.zoo.finetune.fine_tuned import FineTuned
from hornbook.zoo.finetune.trainer import Trainer
from hornbook.zoo.finetune.training_data import fingerprint, read_training_data

if TYPE_CHECKING:
    from hornbook.zoo.finetune.fine_tune import Settings


def train_as_told(
    settings: "Settings",
    backbone: Any,
    train: Any,
    validation: Any,
    *,
    classes: Any,
    loss: Any,
    metrics: Any,
    callbacks: tuple,
    cache: Any,
    verbose: str | int,
    progress: Progress | None,
) -> FineTuned:
    """Does what `fine_tune` says."""
    if settings.save_freq is not None and settings.backup_dir is None:
        refuse("save_freq", "left out without a backup_dir", settings.save_freq)
    processes.join()
    if progress is None:
        shown = verbose in (1, 2, True) or (verbose == "auto" and in_notebook())
        progress = Bars() if shown else Progress()
    if not processes.is_first():
        progress = Progress()
    keras.utils.set_random_seed(settings.seed)
    with processes.together():
        opened = as_backbone(backbone, settings.image_size)
        asked, settings = settings.batchnorm, with_card(settings, opened.card)
        data = read_training_data(settings, opened, train, validation, classes)
        training = Trainer(
            settings, opened, data, loss, metrics, callbacks, cache, progress
        )
    for notice in training.tuned.notices if asked else ():
        warnings.warn(notice, stacklevel=3)
    if processes.count() > 1:
        processes.require_same(fingerprint(data, settings))
    with deterministic_ops():
        return training.run()


def with_card(settings: "Settings", card: dict) -> "Settings":
    """Settings with what the backbone's card says where the user says nothing."""
    told = {"learning_rate": 1e-3, "batchnorm": "frozen", **card.get("fine_tuning", {})}
    frozen = settings.strategy == "linear_probe" or settings.backbone_lr_multiplier == 0
    if frozen:
        told["batchnorm"] = "frozen"
    missing = {
        name: told[name]
        for name in ("learning_rate", "batchnorm")
        if getattr(settings, name) is None
        and not (name == "learning_rate" and not isinstance(settings.optimizer, str))
    }
    return dataclasses.replace(settings, **missing)
