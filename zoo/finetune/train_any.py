"""Trains a job that is not the plain one by `fine_tune`."""

import math

import numpy as np

from hornbook.recipes.data.seeded_batches import SeededBatches
from hornbook.zoo.backbones.open_backbone import open_backbone
from hornbook.zoo.data.arrays.crops import CentreCrops
from hornbook.zoo.finetune.fine_tune import fine_tune
from hornbook.zoo.finetune.train import (
    FEATURES_AT_MOST,
    STEPS_AT_LEAST,
    VIEWS_AT_MOST,
    Trained,
    build_view,
    make_deterministic,
)


def train_any(job, dataset, state=None, progress=None):
    """Trains a classifier on random crops, as a job says.

    Args:
        job: A `Job`.
        dataset: A `hornbook.zoo.data.dataset.Dataset`.
        state: Folder to keep the state of training in, so that calling again after a
            kill goes on; None keeps none.
        progress: A `Progress`; silent by default.

    Returns:
        A `Trained`.

    Raises:
        LossNotFinite: if the loss becomes NaN.
    """
    make_deterministic(job.seed)
    backbone = open_backbone(job.backbone)
    size = backbone.model.input_shape[1]
    view, images = build_view(job.augment, size), dataset.train.images
    steps = max(STEPS_AT_LEAST, math.ceil(len(images) / job.batch_size))
    batches = SeededBatches(
        np.arange(len(images)),
        dataset.train.labels,
        job.batch_size,
        seed=job.seed,
        transform=lambda places, rng: view(images[places], rng),
        steps=steps,
    )
    validation = None
    if dataset.validation is not None:
        centre = CentreCrops(dataset.validation.images, size)
        validation = (centre, dataset.validation.labels)
    on_disk = state is not None and not isinstance(images, np.ndarray)
    views = FEATURES_AT_MOST // (steps * job.batch_size)
    tuned = fine_tune(
        backbone,
        batches,
        validation,
        classes=dataset.classes,
        cache=state / "features" if on_disk else "memory",
        progress=progress,
        strategy="probe" if job.backbone_rate == 0 else job.strategy,
        batchnorm=job.batchnorm or "frozen",
        epochs=job.epochs,
        batch_size=job.batch_size,
        seed=job.seed,
        rate=job.rate,
        backbone_rate=job.backbone_rate,
        label_smoothing=job.label_smoothing,
        mixed_precision=job.mixed_precision,
        views=min(max(1, views), VIEWS_AT_MOST),
        devices=job.devices,
        checkpoint=state,
    )
    return Trained(tuned.model, tuned.history, tuned.seconds)
