"""BatchNormalization in a backbone: hold it, or say that it will move."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING:
    from hornbook.zoo.finetune.fine_tune import Settings
    from hornbook.zoo.finetune.strategies import Phase


@contextlib.contextmanager
def held(layers: Iterable[keras.layers.BatchNormalization]) -> Iterator[None]:
    """Holds layers' statistics, scales and shifts as they are.

    `trainable = False` does it. Calling the backbone with `training=False` does not:
    Keras 3's functional models pass on what `fit` says.

    Args:
        layers: BatchNormalization layers.
    """
    before = [layer.trainable for layer in layers]
    for layer in layers:
        layer.trainable = False
    try:
        yield
    finally:
        for layer, trainable in zip(layers, before, strict=True):
            layer.trainable = trainable


def what_moves(
    settings: "Settings", phases: "Sequence[Phase]", count: int, cached: bool
) -> str | None:
    """A sentence for the user where statistics will move, or None.

    Args:
        settings: `Settings`.
        phases: List of `Phase`.
        count: How many BatchNormalization layers the backbone has.
        cached: Whether the head is trained on cached features.
    """
    if settings.batchnorm == "frozen" or not count:
        return None
    moving = [phase for phase in phases if not (phase.frozen and cached)]
    first = 1 + sum(phase.epochs for phase in phases[: phases.index(moving[0])])
    frozen_too = any(not rate for phase in moving for rate in phase.backbone)
    return (
        f"From epoch {first} on, {count} BatchNormalization layers normalise by "
        f"batches and take on the statistics of the new data"
        f"{', those of frozen blocks too' if frozen_too else ''}, since batchnorm is "
        f"{settings.batchnorm!r}; 'frozen' holds them."
    )
