"""What a frozen backbone makes of the training data: computed once, then kept."""

import contextlib
import hashlib
import math
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hornbook.progress import Progress
from hornbook.zoo.finetune import processes
from hornbook.zoo.finetune.inputs import Arrays, Stream

NUMBERS_AT_ONCE = 2**22  # that go into one forward pass


class FeatureCache:
    """Features by what they depend on: weights, examples, preprocessing, views.

    Give the same cache to several calls of `fine_tune`, or the same folder, and what
    did not change is not computed again.

    Args:
        folder: Where features are kept as memory-mapped files, which take no memory
            and outlive the process. None keeps them in memory.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._kept: dict[Any, Arrays] = {}

    def get(
        self,
        backbone: keras.Model,
        source: Arrays | Stream,
        augment: Callable | None = None,
        views: int = 1,
        progress: Progress | None = None,
        seed: int = 0,
    ) -> Arrays:
        """The features of each example, or of random views of it.

        Args:
            backbone: Model from inputs to features.
            source: `Arrays` or `Stream`.
            augment: Layer that changes inputs at random, or None.
            views: How often each example is passed through.
            progress: A `Progress`; silent by default.
            seed: Of the views.

        Returns:
            `Arrays` of float32 features `(views * examples, features)`, view by view.
        """
        examples, count = fingerprint_examples(source.unchanged())
        seen = f"{source.describe_views()} {views} {seed if views > 1 else ''}"
        parts = (fingerprint_model(backbone), examples, _describe(augment), seen)
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
        if self.folder is None:
            if key not in self._kept:
                self._kept[key] = extract(
                    backbone, source, augment, views, progress, seed
                )
            return self._kept[key]
        place = self.folder / key
        if not place.is_dir():
            if not processes.is_first():
                return extract(backbone, source, augment, views, progress, seed)
            self.folder.mkdir(parents=True, exist_ok=True)
            with _publishing(place) as new:
                rows = views * count
                extract(backbone, source, augment, views, progress, seed, new, rows)
        features, labels, weights = (
            np.load(path, mmap_mode="r") if path.is_file() else None
            for path in _paths(place)
        )
        return Arrays(features, np.array(labels), weights)


def extract(
    backbone: keras.Model,
    source: Arrays | Stream,
    augment: Callable | None = None,
    views: int = 1,
    progress: Progress | None = None,
    seed: int = 0,
    folder: Path | None = None,
    rows: int | None = None,
) -> Arrays:
    """Passes a source through a backbone.

    Args:
        backbone: Model from inputs to features.
        source: `Arrays` or `Stream`.
        augment: Layer that changes inputs at random, or None.
        views: How many passes.
        progress: A `Progress`; silent by default.
        seed: Of the views.
        folder: Where to write the features as they come; None for memory.
        rows: How many there will be, for a folder.

    Returns:
        `Arrays`.
    """
    sizes = [_size(tensor) for tensor in backbone.inputs]
    at_once = int(np.clip(NUMBERS_AT_ONCE // sum(sizes), 8, 256))
    features: Any = []
    labels: Any = []
    weights: Any = []
    filled = done = 0
    chunks = source.count_chunks(at_once)
    total = views * chunks if chunks else None
    with (progress or Progress()).stage("features", total) as update:
        for view in range(views):
            # One view alone is the centre, as at inference.
            varied = views > 1 and source.is_varied
            rng = np.random.default_rng([seed, view]) if varied else None
            for x, y, weight in source.chunks(at_once, rng):
                if augment is not None:
                    x = augment(x, training=True)
                new = np.asarray(backbone.predict_on_batch(x), "float32")
                if folder is None:
                    features.append(new)
                else:
                    if not filled:
                        features = np.lib.format.open_memmap(
                            _paths(folder)[0], "w+", "float32", (rows, new.shape[1])
                        )
                    features[filled : filled + len(new)] = new
                filled, done = filled + len(new), done + 1
                labels.append(y)
                weights += [] if weight is None else [weight]
                update(done)
    if folder is None:
        features = np.concatenate(features)
    labels = np.concatenate(labels)
    weights = np.concatenate(weights) if weights else None
    if folder is not None:
        features.flush()
        for path, values in zip(_paths(folder)[1:], (labels, weights), strict=True):
            if values is not None:
                np.save(path, values)
    return Arrays(features, labels, weights)


def _paths(folder):
    return [folder / f"{part}.npy" for part in ("features", "labels", "weights")]


@contextlib.contextmanager
def _publishing(place):
    """Yields a folder to fill, which takes its place when all went well."""
    new = Path(tempfile.mkdtemp(dir=place.parent, prefix=".new-"))
    try:
        yield new
        with contextlib.suppress(OSError):  # another process was faster
            new.rename(place)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _size(tensor):
    return math.prod(side or 1 for side in tensor.shape)


def fingerprint_model(model: keras.Model) -> str:
    """A hash of all weights, of the layers and their settings, and of the backend.

    Numbers in layers' names are left out: they depend on what else was built.
    """
    digest = hashlib.sha256(keras.backend.backend().encode())
    digest.update(re.sub(r'_\d+(?=["/])', "", model.to_json()).encode())
    for value in model.get_weights():
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def fingerprint_examples(source: Arrays | Stream) -> tuple[str, int]:
    """A hash of examples and labels in any order, and how many there are."""
    total, count = 0, 0
    for x, y, weight in source.chunks(256):
        parts = [*keras.tree.flatten(x), y, *([] if weight is None else [weight])]
        parts = [keras.ops.convert_to_numpy(part) for part in parts]
        for row in range(len(y)):
            digest = hashlib.sha256()
            for part in parts:
                digest.update(_bytes(part[row]))
            total += int.from_bytes(digest.digest(), "big")
        count += len(y)
    return f"{total % 2**256:064x}", count


def _bytes(value):
    value = np.asarray(value)
    return str(value).encode() if value.dtype == object else value.tobytes()


def _describe(augment):
    if augment is None:
        return "none"
    config = keras.saving.serialize_keras_object(augment)
    return re.sub(r'_\d+(?=["/\'])', "", str(config))
