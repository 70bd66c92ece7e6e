"""One phase of training: a compiled model, batches, and what watches over them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from hornbook.progress import Progress
from hornbook.recipes.callbacks.full_state import FullState
from hornbook.zoo.finetune import processes
from hornbook.zoo.finetune.callbacks import (
    Record,
    ReportProgress,
    RestoreState,
    StopIfNotFinite,
)


def fit_phase(
    model: keras.Model,
    name: str,
    batches: Any,
    *,
    epochs: int,
    steps: int,
    progress: Progress,
    validation: Any = None,
    patience: int | None = None,
    state: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    class_weight: dict[int, float] | None = None,
) -> tuple[list[dict], str | None]:
    """Fits a compiled model.

    Args:
        model: A compiled `keras.Model`.
        name: The phase's.
        batches: What `fit` takes; with a method `set_epoch`, it is told each epoch.
        epochs: How many.
        steps: Batches in an epoch.
        progress: A `Progress`.
        validation: Data for early stopping, or None.
        patience: Of early stopping; None means a third of the epochs, at least 3.
        state: Folder for the state of this phase, so that it can go on after a kill.
        callbacks: More callbacks.
        class_weight: As for `fit`.

    Returns:
        One dict an epoch (loss, accuracy, learning_rate, seconds, ...), and which
        epoch's weights were kept, as a sentence, or None.

    Raises:
        LossNotFinite: if the loss becomes NaN; `state` keeps the last good epoch.
    """
    data = batches if hasattr(batches, "set_epoch") else None
    stopping = keras.callbacks.EarlyStopping(
        patience=patience or max(3, epochs // 3), restore_best_weights=True
    )
    with progress.stage(f"train {name}", steps * epochs) as update:
        watching = [
            Record(),
            StopIfNotFinite(name, steps),
            ReportProgress(update, steps),
            *callbacks,
        ]
        if validation is not None:
            watching.append(stopping)
        if state is not None:
            keep = FullState if processes.is_first() else RestoreState
            watching.append(keep(Path(state), data=data))
        elif data is not None:
            follow = keras.callbacks.LambdaCallback(
                on_epoch_begin=lambda epoch, logs: data.set_epoch(epoch)
            )
            watching.append(follow)
        history = model.fit(
            batches,
            epochs=epochs,
            shuffle=False,
            validation_data=validation,
            callbacks=watching,
            class_weight=class_weight,
            verbose=0,
        ).history
    columns = zip(*history.values(), strict=True)
    rows = [dict(zip(history, row, strict=True)) for row in columns]
    kept = None
    if validation is not None and len(rows) > 1:
        best = min(range(len(rows)), key=lambda place: rows[place]["val_loss"])
        kept = (
            f"Of phase {name!r} the weights after epoch {best + 1} of {len(rows)} are "
            f"kept, since the validation loss was lowest there "
            f"({rows[best]['val_loss']:.3g})."
        )
    return rows, kept
