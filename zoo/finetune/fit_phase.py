"""One phase of training: a compiled model, batches, and what watches over them."""

import math
from pathlib import Path

import keras

from hornbook.progress import Record, ReportProgress
from hornbook.recipes.callbacks.full_state import FullState
from hornbook.zoo.finetune import processes


class LossNotFinite(ArithmeticError):
    """The loss became NaN or infinite.

    Attributes:
        epoch: How many epochs of the phase the weights had behind them to which the
            model was set back.
        classifier: The model, set back.
    """

    epoch = 0
    classifier = None


class StopIfNotFinite(keras.callbacks.Callback):
    """Stops once the loss is not a number, and says by which step that was.

    The weights are set back to those of the last epoch that went well.
    """

    def __init__(self, phase, steps):
        super().__init__()
        self.phase, self.steps = phase, steps

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.good = self.model.get_weights()

    def on_train_batch_end(self, batch, logs=None):
        # Keras's loss is the epoch's mean so far: once NaN, it stays NaN.
        if not math.isfinite(logs["loss"]):
            self.model.set_weights(self.good)
            step = self.epoch * self.steps + batch + 1
            error = LossNotFinite(
                f"The loss became {logs['loss']} by step {step} of phase {self.phase!r}"
            )
            error.epoch = self.epoch
            raise error


class RestoreState(FullState):
    """Goes on from what process 0 saved, and saves nothing itself."""

    def on_epoch_end(self, epoch, logs=None):
        """Leaves it to process 0."""


def run_phase(
    model,
    name,
    batches,
    *,
    epochs,
    steps,
    progress,
    validation=None,
    patience=None,
    state=None,
    callbacks=(),
    **options,
):
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
        **options: For `fit`.

    Returns:
        One dict an epoch: loss, accuracy, learning_rate, seconds, ...

    Raises:
        LossNotFinite: if the loss becomes NaN; `state` keeps the last good epoch.
    """
    data = batches if hasattr(batches, "set_epoch") else None
    with progress.stage(f"train {name}", steps * epochs) as update:
        callbacks = [
            Record(),
            StopIfNotFinite(name, steps),
            ReportProgress(update, steps),
            *callbacks,
        ]
        if validation is not None:
            callbacks.append(
                keras.callbacks.EarlyStopping(
                    patience=patience or max(3, epochs // 3), restore_best_weights=True
                )
            )
        if state is not None:
            keep = FullState if processes.is_first() else RestoreState
            callbacks.append(keep(Path(state), data=data))
        elif data is not None:
            follow = keras.callbacks.LambdaCallback(
                on_epoch_begin=lambda epoch, logs: data.set_epoch(epoch)
            )
            callbacks.append(follow)
        history = model.fit(
            batches,
            epochs=epochs,
            shuffle=False,
            validation_data=validation,
            callbacks=callbacks,
            verbose=0,
            **options,
        ).history
    columns = zip(*history.values(), strict=True)
    return [dict(zip(history, row, strict=True)) for row in columns]


def carry_over(old, new):
    """Gives an optimizer what another knows of the weights that both train.

    Adam's moments, the moving averages and the number of steps, by the names of the
    variables, which hold the weights' paths.

    Args:
        old: A built Keras optimizer.
        new: Another, of the same kind.
    """
    known = {variable.name: variable for variable in old.variables}
    for variable in new.variables:
        value = known.get(variable.name)
        if value is not None and value.shape == variable.shape:
            variable.assign(keras.ops.convert_to_numpy(value))


def move_to_step(optimizer, step):
    """Sets an optimizer's number of steps: where a phase begins in the schedule."""
    for variable in optimizer.variables:
        if variable.name == "iteration":
            variable.assign(step)
