"""Training data in each form: arrays, pictures to crop, or a stream of batches."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from hornbook.errors import InputError
from hornbook.recipes.data.seeded_batches import SeededBatches
from hornbook.zoo.data.arrays.crops import centre_crops
from hornbook.zoo.finetune.mixing import Mixed
from hornbook.zoo.finetune.views import View

STEPS_AT_LEAST = 30  # in an epoch of arrays, however few the examples are
FORMS = (
    "(x, y) of arrays, a tf.data.Dataset or a keras.utils.PyDataset, of batches (x, y)"
)


def as_source(
    data: Any, batch_size: int, steps_per_epoch: int | None = None
) -> "Arrays | Stream":
    """Wraps data.

    Args:
        data: `(x, y)` or `(x, y, sample_weight)`, or a `tf.data.Dataset` or
            `PyDataset` of batches of these. `x` is anything that can be indexed by an
            array of places, or a dict of such.
        batch_size: For arrays.
        steps_per_epoch: For arrays, as in the settings.

    Returns:
        `Arrays` or `Stream`.

    Raises:
        InputError: for anything else.
    """
    if isinstance(data, (tuple, list)) and len(data) in (2, 3):
        x, y, weights = (*data, None)[:3]
        return Arrays(x, y, weights, batch_size, steps_per_epoch)
    if isinstance(data, keras.utils.PyDataset) or hasattr(data, "element_spec"):
        return Stream(data)
    raise InputError(f"Data must be {FORMS}. Received: {data!r:.80}")


class Arrays:
    """Examples that can be indexed.

    Args:
        x: Inputs: an array, or anything that can be indexed by an array of places
            (`np.memmap`, `DiskImages`), or a dict of such.
        y: Labels, `(examples, ...)`.
        sample_weight: Array `(examples,)`, or None.
        batch_size: Examples in a batch.
        steps_per_epoch: Batches in an epoch; None for a pass, or 30 where that is less.

    Raises:
        InputError: if lengths differ, or there is nothing.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        batch_size: int = 32,
        steps_per_epoch: int | None = None,
    ) -> None:
        parts = [*keras.tree.flatten(x), y]
        parts += [] if sample_weight is None else [sample_weight]
        lengths = [len(part) for part in parts]
        if min(lengths) != max(lengths) or not lengths[0]:
            raise InputError(
                f"Inputs and labels must have the same length, at least 1. Received: "
                f"lengths={lengths}"
            )
        self.x, self.y = x, np.asarray(y)
        self.sample_weight = sample_weight
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch

    def __len__(self):
        return len(self.y)

    def count_steps(self) -> int:
        """Batches in an epoch of training."""
        a_pass = math.ceil(len(self) / self.batch_size)
        return self.steps_per_epoch or max(STEPS_AT_LEAST, a_pass)

    def count_chunks(self, size: int) -> int:
        """How many `chunks` yields."""
        return math.ceil(len(self) / size)

    def take(self, places: Any, rng: np.random.Generator | None = None) -> Any:
        """Inputs at some places; with `rng`, a random view of each."""
        return keras.tree.map_structure(lambda part: np.asarray(part[places]), self.x)

    def chunks(
        self, size: int, rng: np.random.Generator | None = None
    ) -> Iterator[tuple[Any, Any, Any]]:
        """Yields `(x, y, sample_weight)` in order, `size` at a time."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            weight = self.sample_weight
            weight = None if weight is None else np.asarray(weight[part])
            yield self.take(part, rng), self.y[part], weight

    @property
    def is_varied(self) -> bool:
        """Whether the views of an example differ."""
        return False

    def describe_views(self) -> str:
        """What the views depend on, besides the examples."""
        return ""

    def unchanged(self) -> "Arrays":
        """The same examples as they are, for their fingerprint."""
        return self

    def batches(
        self, seed: int, mix: Any = None, steps: int | None = None
    ) -> keras.utils.PyDataset:
        """Shuffled batches without end, in an order that seed and epoch decide."""
        batches = SeededBatches(
            np.arange(len(self)),
            self.y,
            self.batch_size,
            seed=seed,
            transform=self.take,
            steps_per_epoch=steps or self.count_steps(),
            sample_weight=self.sample_weight,
        )
        return Mixed(batches, mix, seed) if mix else batches

    def in_order(self, mix: Any = None) -> keras.utils.PyDataset:
        """The examples once, to validate on."""
        return Mixed(InOrder(self), mix) if mix else InOrder(self)

    def prepare(self, preprocess: Callable) -> None:
        """Lets a text backbone's tokenizer make of strings what the model takes."""
        texts = np.asarray(self.x)
        if texts.dtype.kind not in "UO":
            return
        tokens = preprocess(texts.tolist())
        self.x = keras.tree.map_structure(keras.ops.convert_to_numpy, tokens)


class Pictures(Arrays):
    """Square pictures larger than what the backbone takes, which gets crops of them.

    Args:
        x: uint8 or float `(examples, size, size, channels)`, or `DiskImages`.
        crop: Integer. Side of a crop in pixels.
        view: Function from pictures and a `numpy.random.Generator` to random crops.
        views: What `view` depends on, in words.
        **options: As for `Arrays`.
    """

    def __init__(
        self, x: Any, y: Any, *, crop: int, view: View, views: str, **options: Any
    ) -> None:
        super().__init__(x, y, **options)
        self.crop, self.view, self.views = crop, view, views

    def take(self, places: Any, rng: np.random.Generator | None = None) -> Any:
        """Random views of the pictures at some places; without `rng`, the centres."""
        images = np.asarray(self.x[places])
        return (
            centre_crops(images, self.crop) if rng is None else self.view(images, rng)
        )

    @property
    def is_varied(self) -> bool:
        """Whether the views of an example differ."""
        return True

    def describe_views(self) -> str:
        """What the views depend on, besides the examples."""
        return self.views

    def unchanged(self) -> Arrays:
        """The pictures as they are."""
        return Arrays(self.x, self.y, self.sample_weight, self.batch_size)


class Stream:
    """Batches as someone else makes them.

    Args:
        data: A `tf.data.Dataset` or `PyDataset` that ends.

    Raises:
        InputError: if it has no end.
    """

    def __init__(self, data: Any) -> None:
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

    is_varied = False

    def describe_views(self) -> str:
        """What the views depend on: the stream alone."""
        return ""

    def unchanged(self) -> "Stream":
        """The stream itself, for its fingerprint."""
        return self

    def chunks(
        self, size: int, rng: np.random.Generator | None = None
    ) -> Iterator[tuple[Any, Any, Any]]:
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

    def count_chunks(self, size: int) -> int | None:
        """How many `chunks` yields, or None where that is not known."""
        return self.steps

    def count_steps(self) -> int:
        """How many batches there are, if need be by one pass."""
        if self.steps is None:
            self.steps = sum(1 for _ in self.data)
        return self.steps

    def batches(self, seed: int = 0, mix: Any = None, steps: int | None = None) -> Any:
        """The stream itself, mixed."""
        if mix is None:
            return self.data
        if isinstance(self.data, keras.utils.PyDataset):
            return Mixed(self.data, mix, seed)
        return self.data.map(mix.in_graph)

    def in_order(self, mix: Any = None) -> Any:
        """The stream itself."""
        return self.batches(mix=mix)


class InOrder(keras.utils.PyDataset):
    """Arrays as batches, each example once."""

    def __init__(self, source: Arrays) -> None:
        super().__init__()
        self.source = source

    def __len__(self):
        return math.ceil(len(self.source) / self.source.batch_size)

    def __getitem__(self, index):
        source = self.source
        start = index * source.batch_size
        part = slice(start, start + source.batch_size)
        batch = source.take(part), source.y[part]
        weight = source.sample_weight
        return batch if weight is None else (*batch, np.asarray(weight[part]))
