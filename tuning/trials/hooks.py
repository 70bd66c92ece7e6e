"""A tuner's own `on_epoch_end` and its kin, called while a trial trains."""

import keras
import keras_tuner

NAMES = ("epoch_begin", "epoch_end", "batch_begin", "batch_end")


class Hooks(keras.callbacks.Callback):
    """Calls the hooks that a subclass of `keras_tuner.Tuner` has.

    Args:
        tuner: The tuner.
        trial: The trial that trains.
    """

    def __init__(self, tuner, trial):
        super().__init__()
        self.tuner, self.trial = tuner, trial
        self.names = [
            name
            for name in NAMES
            if getattr(type(tuner), f"on_{name}")
            is not getattr(keras_tuner.Tuner, f"on_{name}")
        ]
        self.wants_batches = any(name.startswith("batch") for name in self.names)

    def on_epoch_begin(self, epoch, logs=None):
        self.tuner.on_epoch_begin(self.trial, self.model, epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self.tuner.on_epoch_end(self.trial, self.model, epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        self.tuner.on_batch_begin(self.trial, self.model, batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self.tuner.on_batch_end(self.trial, self.model, batch, logs)
