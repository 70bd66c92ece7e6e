"""MixUp and CutMix of batches, by draws that depend on seed, epoch and batch."""

from typing import Any

import keras
import numpy as np


class Mix:
    """Keras's `MixUp` and `CutMix`; labels that are numbers become one-hot rows.

    Args:
        classes: How many there are.
        sparse: Whether labels are numbers.
        mixup: Alpha; 0 leaves it out.
        cutmix: Factor; 0 leaves it out. With neither, only labels are changed.
    """

    def __init__(
        self, classes: int, sparse: bool, mixup: float = 0.0, cutmix: float = 0.0
    ) -> None:
        self.layers: list[Any] = []
        if mixup:
            self.layers.append(keras.layers.MixUp(alpha=mixup, seed=0))
        if cutmix:
            self.layers.append(keras.layers.CutMix(factor=cutmix, seed=0))
        self.classes, self.sparse = classes, sparse

    def __call__(self, x, y, rng):
        """One batch, by what `rng` draws."""
        if self.sparse:
            y = np.eye(self.classes, dtype="float32")[np.ravel(y)]
        if not self.layers:
            return x, y
        layer = self.layers[rng.integers(len(self.layers))]
        layer.generator.state.assign(rng.integers(2**31, size=2))
        mixed = layer({"images": np.asarray(x, "float32"), "labels": y})
        return tuple(
            keras.ops.convert_to_numpy(mixed[name]) for name in ("images", "labels")
        )

    def in_graph(self, x: Any, y: Any, *weight: Any) -> tuple[Any, ...]:
        """The same for `tf.data.Dataset.map`."""
        import tensorflow as tf

        if self.sparse:
            y = tf.one_hot(tf.reshape(y, (-1,)), self.classes)
        if not self.layers:
            return x, y, *weight
        batch = {"images": tf.cast(x, "float32"), "labels": y}
        mixed = self.layers[0](batch)
        for layer in self.layers[1:]:
            other, heads = layer(batch), tf.random.uniform(()) < 0.5
            mixed = {name: tf.where(heads, mixed[name], other[name]) for name in mixed}
        return mixed["images"], mixed["labels"], *weight


class Mixed(keras.utils.PyDataset):
    """Batches, each mixed by draws that depend on seed, epoch and index alone."""

    def __init__(self, batches: Any, mix: Mix, seed: int = 0) -> None:
        super().__init__()
        self.inner, self.mix, self.seed, self.epoch = batches, mix, seed, 0

    def __len__(self):
        return self.inner.num_batches

    def __getitem__(self, index):
        x, y, *weight = self.inner[index]
        rng = np.random.default_rng([self.seed, self.epoch, index])
        return *self.mix(x, y, rng), *weight

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch it is."""
        self.epoch = epoch
        if hasattr(self.inner, "set_epoch"):
            self.inner.set_epoch(epoch)

    def on_epoch_end(self) -> None:
        """Tells the batches within."""
        self.inner.on_epoch_end()
