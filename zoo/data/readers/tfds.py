"""Reads a data set of TFDS, ours or any other of pictures with one label each."""

import contextlib
import sys
from urllib.parse import urlsplit

import numpy as np

from hornbook.errors import InputError
from hornbook.zoo.data.arrays.examples import Examples, Found, Gatherer

EMBEDDED = ("hornbook_digits", "hornbook_glyphs", "hornbook_photo_digits")
SPLITS = ("train", "validation", "test")


def read_tfds(name, size, channels, on_progress=None):
    """Reads the splits train, validation and test, as far as there are such.

    A data set that is not there yet is downloaded; ours are made on the spot. TFDS
    keeps them where the environment variable TFDS_DATA_DIR says.

    Args:
        name: As TFDS names it: "name", "name/config" or "name/config:1.0.0". Without
            a config it is the first, for our digits "all_per_class".
        size: Side in pixels to shrink to.
        channels: 1 for grey, 3 for RGB.
        on_progress: Called with `(done, total)` after each picture.

    Returns:
        `Found`.

    Raises:
        InputError: if TFDS does not know it, can't get it, or it is not of pictures
            with one label each.
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
            f"The data set has no examples in a split named train; its splits are "
            f"{', '.join(builder.info.splits)}. Received: tfds:{name}"
        )
    # Shard by shard, so that "train[7]" is what TFDS itself calls train[7:8].
    in_order = tfds.ReadConfig(interleave_cycle_length=1)
    gatherer = Gatherer(size, channels, sum(counts.values()), on_progress)
    found = {}
    for split, count in counts.items():
        examples = builder.as_dataset(split=split, read_config=in_order)
        pairs = tfds.as_numpy(examples.map(lambda each: (each[image], each[label])))
        labels = []
        pictures = _pictures(pairs, labels)
        images = gatherer.gather(pictures, count)
        if -1 in labels:
            raise InputError(
                f"The split {split} has pictures without a label. Received: tfds:{name}"
            )
        names = tuple(f"{split}[{place}]" for place in range(count))
        found[split] = Examples(images, np.array(labels, "int64"), names)
    classes = tuple(builder.info.features[label].names)
    return Found(classes, found, gatherer.enlarged)


def _pictures(pairs, labels):
    """Yields the pictures; their labels are appended to a list on the way."""
    for picture, label in pairs:
        labels.append(int(label))
        yield picture


def _builder(name):
    import tensorflow_datasets as tfds

    from hornbook.zoo.data.builders.embedded import embedded_builder

    dataset, _, config = name.partition("/")
    if dataset in EMBEDDED:
        embedded_builder(dataset)  # registers it
    try:
        return tfds.builder(name)
    except tfds.core.DatasetNotFoundError as error:
        raise InputError(
            f"TFDS knows no data set of that name. Received: tfds:{name}"
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
            f"TFDS can't open that data set ({_brief(error)}). Received: tfds:{name}"
        ) from error


def _keys(builder, name):
    """The names of the features that are the picture and the label."""
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
        f"The data set is not one of 8-bit pictures with one label each. Received: "
        f"tfds:{name}"
    )


def _prepare(builder, name):
    """The same builder, with its data on this machine."""
    if builder.is_prepared():
        return builder
    try:
        _reach(builder)
        with contextlib.redirect_stdout(sys.stderr):  # which is for our results
            builder.download_and_prepare()
    except Exception as error:
        builder = _builder(name)
        if not builder.is_prepared():  # nor by another process, which was faster
            raise InputError(
                f"The data set is not on this machine, and can't be downloaded or made "
                f"({_brief(error)}). Received: tfds:{name}"
            ) from error
    return builder


def _reach(builder):
    """Asks for the first file's address; TFDS itself would try for three minutes."""
    import requests  # as TFDS does

    for url in list(builder.url_infos or ())[:1]:
        try:
            requests.head(url, timeout=20)
        except requests.RequestException as error:
            raise OSError(f"{urlsplit(url).hostname} can't be reached") from error


def _brief(error):
    """The first line of an error that was meant for programmers."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
