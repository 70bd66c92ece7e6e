# SPDX-License-Identifier: Apache-2.0
"""SeededBatches: batches whose order and augmentation depend on the epoch alone.

What:    feeds arrays to `fit` in an order that is a function of (seed, epoch, batch).
When:    training that is resumed exactly, compared run by run, or has few examples.
Not for: data that does not fit in an array or a memmap.
Source:  sampling without replacement, as `fit(shuffle=True)` does.
Differs: from `fit(shuffle=True)`, whose order depends on all earlier random draws.
Needs:   keras>=3.12.
"""

import math
from collections.abc import Callable

import keras
import numpy as np


class SeededBatches(keras.utils.PyDataset):
    """Batches of arrays, in an order that is a function of seed, epoch and index.

    The examples come from an endless stream of permutations of the data, of which
    each epoch takes the next part. So every example is used equally often, even if an
    epoch is longer than the data or not a multiple of it: 50 examples can give epochs
    of 30 batches of 32.

    Give it to `fit` with `shuffle=False`, since `shuffle=True` shuffles the batches
    once more, and without `fit`'s own `steps_per_epoch`, which cuts epochs elsewhere.
    A callback should call `set_epoch` at the start of each epoch, as `FullState` does;
    without one, the end of each epoch moves on to the next. Keras ends one epoch
    before it begins the first, so that without such a callback the first epoch trained
    on is epoch 1.

    It has no argument `workers`: with more than one, Keras 3.15 on JAX and torch passes
    batches that it fetched while building the model to the first epoch.

    Args:
        x: Array or memmap of inputs, `(examples, ...)`.
        y: Array or memmap of targets, `(examples, ...)`.
        batch_size: Int, the examples in a batch. Defaults to 32.
        seed: Non-negative int. Defaults to 0.
        transform: Function `transform(batch_x, rng)` that returns the batch to use.
            `rng` is a `numpy.random.Generator` seeded by `[seed, epoch, index]`;
            `batch_x` is a copy that it may change. Defaults to `None`.
        steps_per_epoch: Int, batches in an epoch, all of them full. What
            `len(x) // batch_size` of them leave over begins the next epoch. By default
            an epoch is one pass over the data, and its last batch holds what is left.
        sample_weight: Array of weights, `(examples,)`. Defaults to `None`.

    Returns:
        Batches `(x, y)`, or `(x, y, sample_weight)`.

    Raises:
        ValueError: If an argument is out of range, or lengths differ.

    Example:
    >>> x = np.arange(5.0).reshape(5, 1)
    >>> batches = SeededBatches(x, x, batch_size=2, steps_per_epoch=5)
    >>> seen = np.concatenate([batch_x for batch_x, _ in batches])
    >>> np.unique(seen, return_counts=True)[1]
    array([2, 2, 2, 2, 2])
    """

    def __init__(
        self,
        x: np.typing.ArrayLike,
        y: np.typing.ArrayLike,
        batch_size: int = 32,
        seed: int = 0,
        transform: Callable[[np.ndarray, np.random.Generator], np.ndarray]
        | None = None,
        steps_per_epoch: int | None = None,
        sample_weight: np.typing.ArrayLike | None = None,
    ) -> None:
        super().__init__()
        arrays = [x, y] if sample_weight is None else [x, y, sample_weight]
        # asarray makes a plain view of a memmap, and reads nothing.
        self.arrays = [np.asarray(array) for array in arrays]
        lengths = [len(array) for array in self.arrays]
        if len(set(lengths)) > 1 or lengths[0] == 0:
            raise ValueError(
                "`x`, `y` and `sample_weight` must have the same number of examples, "
                f"at least one. Received: lengths={lengths}"
            )
        _check_integer("batch_size", batch_size, at_least=1)
        _check_integer("seed", seed, at_least=0)
        if steps_per_epoch is not None:
            _check_integer("steps_per_epoch", steps_per_epoch, at_least=1)
        if transform is not None and not callable(transform):
            raise ValueError(
                "`transform` must be a function of a batch and a generator. "
                f"Received: transform={transform}"
            )
        self.batch_size = batch_size
        self.seed = seed
        self.transform = transform
        self.steps_per_epoch = steps_per_epoch
        self.epoch, self._order = 0, self._draw(0)

    def set_epoch(self, epoch: int) -> None:
        """Switches to the batches of `epoch`, counted from 0."""
        _check_integer("epoch", epoch, at_least=0)
        self.epoch, self._order = epoch, self._draw(epoch)

    def _draw(self, epoch):
        """The examples of an epoch, by their places, in their order."""
        size = len(self.arrays[0])
        steps = self.steps_per_epoch
        length = size if steps is None else steps * self.batch_size
        first, offset = divmod(epoch * length, size)
        passes = [self._pass(first + i) for i in range(-(-(offset + length) // size))]
        return np.concatenate(passes)[offset : offset + length]

    def _pass(self, number):
        # A spawn key keeps this stream apart from those that transforms draw from.
        source = np.random.SeedSequence(self.seed, spawn_key=(number,))
        return np.random.default_rng(source).permutation(len(self.arrays[0]))

    def on_epoch_end(self):
        """Moves on to the next epoch."""
        self.set_epoch(self.epoch + 1)

    def __len__(self):
        return math.ceil(len(self._order) / self.batch_size)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(
                f"An epoch has {len(self)} batches. Received: index={index}"
            )
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        x, *rest = (array[chosen] for array in self.arrays)
        if self.transform is not None:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            x = self.transform(x, rng)
        return x, *rest


def _check_integer(name, value, at_least):
    if not isinstance(value, (int, np.integer)) or value < at_least:
        raise ValueError(
            f"`{name}` must be an integer of at least {at_least}. "
            f"Received: {name}={value}"
        )
