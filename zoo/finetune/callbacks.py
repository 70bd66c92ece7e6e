"""What watches over a phase, and how a user's callbacks see one training."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras

from hornbook.batch_hooks import wants_batches
from hornbook.progress import Update
from hornbook.recipes.callbacks.full_state import FullState

Logs = Any  # a dict of numbers, which Keras always gives


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

    def __init__(self, phase: str, steps: int) -> None:
        super().__init__()
        self.phase, self.steps = phase, steps
        self.epoch = 0
        self.good: list[Any] = []

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Keeps the weights."""
        self.epoch = epoch
        self.good = self.model.get_weights()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Looks at the loss."""
        # Keras's loss is the epoch's mean so far: once NaN, it stays NaN.
        if not math.isfinite(logs["loss"]):
            self.model.set_weights(self.good)
            step = self.epoch * self.steps + batch + 1
            error = LossNotFinite(
                f"The loss became {logs['loss']} by step {step} of phase {self.phase!r}"
            )
            error.epoch = self.epoch
            raise error


class ReportProgress(keras.callbacks.Callback):
    """Tells a stage how many batches are done, and the numbers of each epoch."""

    def __init__(self, update: Update, steps: int) -> None:
        super().__init__()
        self.update, self.steps, self.done = update, steps, 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """After a resume, the epochs before this one count as done."""
        self.done = epoch * self.steps
        self.update(self.done)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Counts one step."""
        self.update(self.done + batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Shows the epoch's numbers."""
        shown = {name: logs[name] for name in ("loss", "val_accuracy") if name in logs}
        self.update(self.done + self.steps, **shown)


class Record(keras.callbacks.Callback):
    """Adds the seconds and the learning rate at the end of each epoch to the logs."""

    def __init__(self) -> None:
        super().__init__()
        self.start = 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Starts the clock."""
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Writes into the logs, which later callbacks and the history read."""
        rate = self.model.optimizer.learning_rate
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(rate))
        logs["seconds"] = time.perf_counter() - self.start


class TimeBudget(keras.callbacks.Callback):
    """Lets the learning rate fall as a cosine over a time, and then stops the phase.

    Args:
        learning_rate: Float. From which it falls.
        seconds: Float. The time of the phase.
        warmup_ratio: Float. Part of the time in which it rises.
        by_batch: Whether it looks at each batch; else, at each epoch.
    """

    def __init__(
        self,
        learning_rate: float,
        seconds: float,
        warmup_ratio: float = 0.0,
        by_batch: bool = True,
    ) -> None:
        super().__init__()
        self.learning_rate, self.seconds = learning_rate, seconds
        self.warmup_ratio, self.wants_batches = warmup_ratio, by_batch
        self.start = 0.0

    def on_train_begin(self, logs: Logs = None) -> None:
        """Starts the clock."""
        self.start = time.perf_counter()

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Sets the rate by the time that has passed."""
        if self.wants_batches:
            self._follow()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Stops when the time is over."""
        if self.wants_batches and self._passed() >= 1:
            self.model.stop_training = True

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Sets the rate by the time that has passed."""
        self._follow()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Stops when the time is over."""
        if self._passed() >= 1:
            self.model.stop_training = True

    def _passed(self):
        return (time.perf_counter() - self.start) / self.seconds

    def _follow(self):
        passed, warmup = min(1.0, self._passed()), self.warmup_ratio
        done = max(0.0, (passed - warmup) / (1 - warmup)) if warmup < 1 else 0.0
        rate = self.learning_rate * (1 + math.cos(math.pi * done)) / 2
        if passed < warmup:
            rate *= passed / warmup
        self.model.optimizer.learning_rate = rate


class RestoreState(FullState):
    """Goes on from what process 0 saved, and saves nothing itself."""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Leaves it to process 0."""


class OneTraining:
    """A user's callbacks, which see one training of all epochs, whatever the phases.

    Epochs count on, files go on, `logs["phase"]` is the phase's number from 1, and
    setting `model.stop_training` ends the whole training.

    Args:
        callbacks: Keras callbacks.
        model: The whole model, which they get from the first phase on.
        epochs: Integer. Of all phases.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        epochs: int,
    ) -> None:
        self.callbacks, self.model, self.epochs = list(callbacks), model, epochs
        self.wants_batches = any(map(wants_batches, self.callbacks))
        self.is_stopped = False
        self.done = 0
        self.list = keras.callbacks.CallbackList(
            self.callbacks, add_history=False, model=model, verbose=0, epochs=epochs
        )

    def begin(self) -> None:
        """Tells that training begins."""
        self.model.stop_training = False
        self.list.on_train_begin()

    def end(self, history: list[dict]) -> None:
        """Tells that training has ended."""
        self.list.on_train_end({k: v for k, v in history[-1].items() if k != "phase"})

    def phase(self, number: int, sync: Callable[[], None] | None = None) -> "_Relay":
        """The callback that tells them of one phase.

        Args:
            number: From 1.
            sync: Function that brings the weights into the whole model, or None.
        """
        return _Relay(self, number, self.done, sync)


class _Relay(keras.callbacks.Callback):
    """Passes on what happens in one phase."""

    def __init__(self, training, number, first, sync):
        super().__init__()
        self.training, self.number, self.first = training, number, first
        self.sync, self.wants_batches = sync, training.wants_batches

    def on_epoch_begin(self, epoch, logs=None):
        self.training.model.optimizer = self.model.optimizer
        self.training.list.on_epoch_begin(self.first + epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        if self.sync is not None:
            self.sync()
        training, place = self.training, self.first + epoch
        training.done = place + 1
        training.list.on_epoch_end(place, {**logs, "phase": self.number})
        self._follow()

    def on_train_batch_begin(self, batch, logs=None):
        if self.wants_batches:
            self.training.list.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        if self.wants_batches:
            self.training.list.on_train_batch_end(batch, logs)
            self._follow()

    def on_test_begin(self, logs=None):
        self.training.list.on_test_begin(logs)

    def on_test_end(self, logs=None):
        self.training.list.on_test_end(logs)

    def _follow(self):
        if self.training.model.stop_training:
            self.training.is_stopped = True
            self.model.stop_training = True
