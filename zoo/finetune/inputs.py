"""Training data in either form: arrays, or a stream of batches."""

import math

import keras
import numpy as np

from hornbook.errors import InputError
from hornbook.recipes.data.seeded_batches import SeededBatches

FORMS = (
    "(x, y) of arrays, a tf.data.Dataset or a keras.utils.PyDataset, of batches (x, y)"
)


def as_source(data, batch_size):
    """Wraps data.

    Args:
        data: `(x, y)` or `(x, y, sample_weight)`, or a `tf.data.Dataset` or
            `PyDataset` of batches of these. `x` is anything that can be indexed by an
            array of places, or a dict of such.
        batch_size: For arrays.

    Returns:
        `Arrays` or `Stream`.

    Raises:
        InputError: for anything else.
    """
    if isinstance(data, (tuple, list)) and len(data) in (2, 3):
        return Arrays(*data, batch_size=batch_size)
    if isinstance(data, keras.utils.PyDataset) or hasattr(data, "element_spec"):
        return Stream(data)
    raise InputError(f"Data must be {FORMS}. Received: {data!r:.80}")


class Arrays:
    """Examples that can be indexed.

    Args:
        x: Inputs: an array, or anything that can be indexed by an array of places
            (`np.memmap`, `DiskPictures`), or a dict of such.
        y: Labels, `(examples, ...)`.
        sample_weight: Array `(examples,)`, or None.
        batch_size: Examples in a batch.

    Raises:
        InputError: if lengths differ, or there is nothing.
    """

    def __init__(self, x, y, sample_weight=None, batch_size=32):
        parts = [*keras.tree.flatten(x), y]
        parts += [] if sample_weight is None else [sample_weight]
        lengths = [len(part) for part in parts]
        if min(lengths) != max(lengths) or not lengths[0]:
            raise InputError(
                f"Inputs and labels must be as many, at least one. Received: {lengths}"
            )
        self.x, self.y = x, np.asarray(y)
        self.sample_weight = sample_weight
        self.batch_size = batch_size

    def __len__(self):
        return len(self.y)

    @property
    def steps(self):
        """Batches in a pass."""
        return math.ceil(len(self) / self.batch_size)

    def count_steps(self):
        """Batches in a pass."""
        return self.steps

    def count_chunks(self, size):
        """How many `chunks` yields."""
        return math.ceil(len(self) / size)

    def take(self, places):
        """Inputs at some places."""
        return keras.tree.map_structure(lambda part: np.asarray(part[places]), self.x)

    def chunks(self, size):
        """Yields `(x, y, sample_weight)` in order, `size` at a time."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            weight = self.sample_weight
            weight = None if weight is None else np.asarray(weight[part])
            yield self.take(part), self.y[part], weight

    def batches(self, seed, mix=None, steps=None):
        """Shuffled batches without end, in an order that seed and epoch decide."""
        batches = SeededBatches(
            np.arange(len(self)),
            self.y,
            self.batch_size,
            seed=seed,
            transform=lambda places, rng: self.take(places),
            steps=steps or self.steps,
            sample_weight=self.sample_weight,
        )
        return Mixed(batches, mix, seed) if mix else batches

    def in_order(self, mix=None):
        """The examples once, to validate on."""
        return Mixed(InOrder(self), mix) if mix else InOrder(self)

    def prepare(self, preprocess):
        """Lets a text backbone's tokenizer make of strings what the model takes."""
        texts = np.asarray(self.x)
        if texts.dtype.kind not in "UO":
            return
        tokens = preprocess(texts.tolist())
        self.x = keras.tree.map_structure(keras.ops.convert_to_numpy, tokens)


class Stream:
    """Batches as someone else makes them.

    Args:
        data: A `tf.data.Dataset` or `PyDataset` that ends.

    Raises:
        InputError: if it has no end.
    """

    def __init__(self, data):
        self.data = data
        self.steps = None
        if isinstance(data, keras.utils.PyDataset):
            self.steps = data.num_batches
            endless = self.steps is None
        else:
            count = int(data.cardinality())  # -1: endless, -2: not known
            endless = count == -1
            self.steps = count if count >= 0 else None
        if endless:
            raise InputError(
                f"The stream must end after each pass; leave out repeat(). "
                f"Received: {data!r:.80}"
            )
        if self.steps == 0:
            raise InputError(f"The stream is empty. Received: {data!r:.80}")

    def chunks(self, size):
        """Yields `(x, y, sample_weight)`, in batches of the stream's own size."""
        data, steps = self.data, 0
        if isinstance(data, keras.utils.PyDataset):
            batches = (data[index] for index in range(len(data)))
        else:
            batches = iter(data)
        for steps, batch in enumerate(batches, 1):  # noqa: B007
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            if y is None:
                raise InputError(f"The stream brings no labels. It must be {FORMS}.")
            weight = None if weight is None else keras.ops.convert_to_numpy(weight)
            # JAX takes no tensors of tf.data.
            x = keras.tree.map_structure(keras.ops.convert_to_numpy, x)
            yield x, keras.ops.convert_to_numpy(y), weight
        self.steps = steps
        if isinstance(data, keras.utils.PyDataset):
            data.on_epoch_end()

    def count_chunks(self, size):
        """How many `chunks` yields, or None where that is not known."""
        return self.steps

    def count_steps(self):
        """How many batches there are, if need be by one pass."""
        if self.steps is None:
            self.steps = sum(1 for _ in self.data)
        return self.steps

    def batches(self, seed=0, mix=None, steps=None):
        """The stream itself, mixed."""
        if mix is None:
            return self.data
        if isinstance(self.data, keras.utils.PyDataset):
            return Mixed(self.data, mix, seed)
        return self.data.map(mix.in_graph)

    def in_order(self, mix=None):
        """The stream itself."""
        return self.batches(mix=mix)


class InOrder(keras.utils.PyDataset):
    """Arrays as batches, each example once."""

    def __init__(self, source):
        super().__init__()
        self.source = source

    def __len__(self):
        return self.source.steps

    def __getitem__(self, index):
        source = self.source
        start = index * source.batch_size
        part = slice(start, start + source.batch_size)
        batch = source.take(part), source.y[part]
        weight = source.sample_weight
        return batch if weight is None else (*batch, np.asarray(weight[part]))


class Mix:
    """Keras's `MixUp` and `CutMix`; labels that are numbers become one-hot rows.

    Args:
        classes: How many there are.
        sparse: Whether labels are numbers.
        mixup: Alpha; 0 leaves it out.
        cutmix: Factor; 0 leaves it out. With neither, only labels are changed.
    """

    def __init__(self, classes, sparse, mixup=0.0, cutmix=0.0):
        self.layers = []
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

    def in_graph(self, x, y, *weight):
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

    def __init__(self, batches, mix, seed=0):
        super().__init__()
        self.inner, self.mix, self.seed, self.epoch = batches, mix, seed, 0

    def __len__(self):
        return self.inner.num_batches

    def __getitem__(self, index):
        x, y, *weight = self.inner[index]
        rng = np.random.default_rng([self.seed, self.epoch, index])
        return *self.mix(x, y, rng), *weight

    def set_epoch(self, epoch):
        """Says which epoch it is."""
        self.epoch = epoch
        if hasattr(self.inner, "set_epoch"):
            self.inner.set_epoch(epoch)

    def on_epoch_end(self):
        """Tells the batches within."""
        self.inner.on_epoch_end()
