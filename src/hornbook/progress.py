"""How training tells whoever waits how far it is."""

import contextlib
import time

import keras


class Progress:
    """Silent. The command line has one that draws bars with the time left."""

    @contextlib.contextmanager
    def stage(self, title, total=None):
        """A stretch of work of `total` steps, if that is known yet.

        Yields `update(completed, total=None, **numbers)`.
        """
        yield lambda completed, total=None, **numbers: None


class ReportProgress(keras.callbacks.Callback):
    """Tells a stage how many batches are done, and the numbers of each epoch."""

    def __init__(self, update, steps):
        super().__init__()
        self.update, self.steps = update, steps
        self.done = 0

    def on_epoch_begin(self, epoch, logs=None):
        """After a resume, the epochs before this one count as done."""
        self.done = epoch * self.steps
        self.update(self.done)

    def on_train_batch_end(self, batch, logs=None):
        """Counts one step."""
        self.update(self.done + batch + 1)

    def on_epoch_end(self, epoch, logs=None):
        """Shows the epoch's numbers."""
        shown = {name: logs[name] for name in ("loss", "val_accuracy") if name in logs}
        self.update(self.done + self.steps, **shown)


class Record(keras.callbacks.Callback):
    """Adds the seconds and the rate at the end of each epoch to the history."""

    def __init__(self):
        super().__init__()
        self.start = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Writes into the logs, which later callbacks and the history read."""
        rate = self.model.optimizer.learning_rate
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(rate))
        logs["seconds"] = time.perf_counter() - self.start
