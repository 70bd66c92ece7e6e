# SPDX-License-Identifier: Apache-2.0
"""SnapshotEnsemble: several models from one training, one from each of its cycles.

What:    lowers the learning rate to almost 0 and restarts it, cycle after cycle, and
         keeps the weights at the end of each.
When:    an ensemble for the price of training one model.
Not for: short trainings: each cycle must be long enough to converge.
Source:  Huang et al., "Snapshot Ensembles: Train 1, Get M for Free", ICLR 2017;
         the schedule is that of Loshchilov and Hutter, "SGDR", ICLR 2017.
Differs: cycles consist of whole epochs.
Needs:   keras>=3.12.
"""

import math

import keras


class SnapshotEnsemble(keras.callbacks.Callback):
    """Trains in cycles of a cosine learning rate and keeps the weights of each.

    In step `t` of a cycle of `n` steps, counted from 0, the learning rate is
    `learning_rate / 2 * (cos(pi * t / n) + 1)`: the whole rate first, almost 0 last. It
    is set before each batch (with `steps_per_execution`, before each group), as the
    optimizer's one learning rate, so multipliers by layer keep their ratios. No other
    callback may set it, and an optimizer with a schedule is refused.

    The rate is a function of epoch and batch alone. With the recipe `FullState` after
    this callback, a training that was killed continues with the snapshots that it had.
    If training stops early, there are fewer.

    Args:
        num_cycles: Int, the number of cycles and of models. The `epochs` of `fit` must
            be a multiple of it.
        learning_rate: Positive float, the learning rate at the start of each cycle. The
            paper uses 0.1 to 0.2 for SGD, higher than usual, so that the cycles end
            with different models.

    Attributes:
        snapshots: List of the results of `model.get_weights()` at the end of each
            cycle, in memory.

    Raises:
        ValueError: If an argument is out of range, `epochs` is not a multiple of
            `num_cycles`, or Keras does not know the number of steps in an epoch.
        TypeError: If the optimizer's rate is a schedule.

    Example:
    >>> import numpy as np
    >>> x = y = np.ones((8, 1))
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> snapshots = SnapshotEnsemble(3, learning_rate=0.1)
    >>> history = model.fit(x, y, epochs=6, verbose=0, callbacks=[snapshots])
    >>> [member.count_params() for member in snapshots.models()]
    [2, 2, 2]
    """

    def __init__(self, num_cycles: int, learning_rate: float) -> None:
        super().__init__()
        if not isinstance(num_cycles, int) or num_cycles < 1:
            raise ValueError(
                "`num_cycles` must be a positive integer. "
                f"Received: num_cycles={num_cycles}"
            )
        if not 0 < learning_rate < math.inf:
            raise ValueError(
                "`learning_rate` must be a positive number. "
                f"Received: learning_rate={learning_rate}"
            )
        self.num_cycles = num_cycles
        self.learning_rate = learning_rate
        self.snapshots = []

    def on_train_begin(self, logs=None):
        """Checks the arguments of `fit`, and discards earlier snapshots."""
        epochs, steps = self.params["epochs"], self.params["steps"]
        if epochs % self.num_cycles:
            raise ValueError(
                f"`epochs` must be a multiple of the {self.num_cycles} cycles. "
                f"Received: epochs={epochs}"
            )
        if steps is None:
            raise ValueError(
                "The number of steps in an epoch is not known: call `fit` with "
                "`steps_per_epoch`. Received: steps=None"
            )
        self.model.optimizer.learning_rate = self.learning_rate  # refuses schedules
        self.snapshots = []
        self._epochs = epochs // self.num_cycles  # in a cycle
        self._steps = self._epochs * steps

    def on_epoch_begin(self, epoch, logs=None):
        """Stores the epoch."""
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        """Sets the learning rate."""
        step = self._epoch % self._epochs * self.params["steps"] + batch
        cosine = math.cos(math.pi * step / self._steps)
        self.model.optimizer.learning_rate = self.learning_rate / 2 * (cosine + 1)

    def on_epoch_end(self, epoch, logs=None):
        """Keeps the weights at the end of a cycle."""
        if (epoch + 1) % self._epochs == 0:
            self.snapshots.append(self.model.get_weights())

    def models(self) -> list[keras.Model]:
        """Builds a new, uncompiled model from each snapshot, as members of an ensemble.

        Returns:
            List of clones of the model, which share no layers.
        """
        models = []
        for weights in self.snapshots:
            model = keras.models.clone_model(self.model)
            if not model.built:
                model.build_from_config(self.model.get_build_config())
            model.set_weights(weights)
            models.append(model)
        return models
