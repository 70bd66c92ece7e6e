"""Builds the embedded data sets with TFDS; nothing is downloaded."""

import contextlib
import importlib
import io

from hornbook.errors import InputError


def embedded_builder(name):
    """The builder class of one of our data sets, by its TFDS name."""
    module = importlib.import_module(f"hornbook.zoo.data.builders.{name}")
    return getattr(module, "".join(part.title() for part in name.split("_")))


def build_configs(names, data_dir=None):
    """Builds data sets, each in all its configs or in the one that is named.

    Args:
        names: Such as "hornbook_digits" or "hornbook_glyphs/rgb".
        data_dir: Folder for the data; None for TFDS's own.

    Yields:
        `(config, examples, folder)` as each is done.

    Raises:
        InputError: before any is built, if a config is not one of the data set's.
    """
    builders = []
    for name in names:
        dataset, _, config = name.partition("/")
        known = [each.name for each in embedded_builder(dataset).BUILDER_CONFIGS]
        if config and config not in known:
            raise InputError(
                f"{dataset} has the configs {', '.join(known)}. Received: {name}"
            )
        builders += [(dataset, each) for each in ([config] if config else known)]
    for dataset, config in builders:
        builder = embedded_builder(dataset)(config=config, data_dir=data_dir)
        with contextlib.redirect_stdout(io.StringIO()):  # it talks of downloading
            builder.download_and_prepare()
        examples = sum(split.num_examples for split in builder.info.splits.values())
        yield f"{dataset}/{config}", examples, builder.data_path
