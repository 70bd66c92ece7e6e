"""Reads a TFDS data set of images with one label each, ours or any other."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from hornbook.errors import InputError
from hornbook.zoo.data.arrays.examples import Examples, Found, Gatherer

EMBEDDED = ("hornbook_digits", "hornbook_glyphs", "hornbook_photo_digits")
SPLITS = ("train", "validation", "test")


def read_tfds(
    name: str,
    size: int,
    channels: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Reads the splits train, validation and test, as far as they exist.

    A data set that is not on this machine is downloaded; ours are built. TFDS keeps
    them in the folder that the environment variable TFDS_DATA_DIR names.

    Args:
        name: Name in TFDS: "name", "name/config" or "name/config:1.0.0". The config
            defaults to the first one, for our digits "all_per_class".
        size: Side in pixels that images are scaled to.
        channels: 1 for grey, 3 for RGB.
        on_progress: Called with `(done, total)` after each image.

    Returns:
        `Found`.

    Raises:
        InputError: If TFDS does not know the data set or cannot get it, or if it does
            not hold images with one label each.
    """
    import tensorflow_datasets as tfds

    builder = _builder(name)
    image, label = _keys(builder, name)
    builder = _prepare(builder, name)
    counts = {
        split: builder.info.splits[split].num_examples
        for split in SPLITS
        if split in builder.info.splits
    }
    if not counts.get("train"):
        raise InputError(
            "The data set has no examples in a split named train; its splits are "
            f"{', '.join(builder.info.splits)}. Received: tfds:{name}"
        )
    # Shard by shard, so that "train[7]" is what TFDS itself calls train[7:8].
    in_order = tfds.ReadConfig(interleave_cycle_length=1)
    gatherer = Gatherer(size, channels, sum(counts.values()), on_progress)
    found = {}
    for split, count in counts.items():
        examples = builder.as_dataset(split=split, read_config=in_order)
        pairs = tfds.as_numpy(examples.map(lambda each: (each[image], each[label])))
        labels: list[int] = []
        pictures = _images(pairs, labels)
        images = gatherer.gather(pictures, count)
        if -1 in labels:
            raise InputError(
                f"The split {split} has images without a label. Received: tfds:{name}"
            )
        names = tuple(f"{split}[{place}]" for place in range(count))
        found[split] = Examples(images, np.array(labels, "int64"), names)
    classes = tuple(builder.info.features[label].names)
    return Found(classes, found, gatherer.enlarged)


def _images(pairs: Iterable[tuple], labels: list[int]) -> Iterator[np.ndarray]:
    """Yields the images, and appends their labels to a list."""
    for picture, label in pairs:
        labels.append(int(label))
        yield picture


def _builder(name: str) -> Any:
    import tensorflow_datasets as tfds

    from hornbook.zoo.data.builders.embedded import embedded_builder

    dataset, _, config = name.partition("/")
    if dataset in EMBEDDED:
        embedded_builder(dataset)  # registers it
    try:
        return tfds.builder(name)
    except tfds.core.DatasetNotFoundError as error:
        raise InputError(
            f"TFDS has no data set of this name. Received: tfds:{name}"
        ) from error
    except Exception as error:
        known = []
        with contextlib.suppress(Exception):
            known = list(tfds.builder_cls(dataset).builder_configs)
        if known and config.partition(":")[0] not in known:
            raise InputError(
                f"{dataset} has the configs {', '.join(known)}. Received: tfds:{name}"
            ) from error
        raise InputError(
            f"TFDS cannot open the data set ({_brief(error)}). Received: tfds:{name}"
        ) from error


def _keys(builder: Any, name: str) -> tuple[str, str]:
    """The names of the features that hold the image and the label."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    keys = builder.info.supervised_keys or ("image", "label")
    wanted = (tfds.features.Image, tfds.features.ClassLabel)
    if (
        len(keys) == 2
        and all(
            k in features and isinstance(features[k], t)
            for k, t in zip(keys, wanted, strict=True)
        )
        and features[keys[0]].np_dtype == np.uint8
    ):
        return keys
    raise InputError(
        "The data set must hold 8-bit images with one label each. Received: "
        f"tfds:{name}"
    )


def _prepare(builder: Any, name: str) -> Any:
    """The same builder, with its data on this machine."""
    if builder.is_prepared():
        return builder
    try:
        _reach(builder)
        with contextlib.redirect_stdout(sys.stderr):  # which is kept for results
            builder.download_and_prepare()
    except Exception as error:
        builder = _builder(name)
        if not builder.is_prepared():  # by another process, in the meantime
            raise InputError(
                "The data set is not on this machine, and cannot be downloaded or "
                f"built ({_brief(error)}). Received: tfds:{name}"
            ) from error
    return builder


def _reach(builder: Any) -> None:
    """Requests the first file; TFDS itself would try for three minutes."""
    import requests  # as TFDS does

    for url in list(builder.url_infos or ())[:1]:
        try:
            requests.head(url, timeout=20)
        except requests.RequestException as error:
            raise OSError(f"{urlsplit(url).hostname} cannot be reached") from error


def _brief(error: Exception) -> str:
    """The first line of an error message, shortened."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
