"""Builds the embedded data sets with TFDS; nothing is downloaded."""

import contextlib
import importlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hornbook.errors import InputError


def embedded_builder(name: str) -> Any:
    """The builder class of one of our data sets, by its TFDS name."""
    module = importlib.import_module(f"hornbook.zoo.data.builders.{name}")
    return getattr(module, "".join(part.title() for part in name.split("_")))


def build_configs(
    names: Iterable[str], data_dir: str | Path | None = None
) -> Iterator[tuple[str, int, Path]]:
    """Builds data sets, each in all its configs or in one of them.

    Args:
        names: Such as "hornbook_digits" or "hornbook_glyphs/rgb".
        data_dir: Folder for the data. Defaults to the folder of TFDS.

    Yields:
        `(config, examples, folder)` after each config is built.

    Raises:
        InputError: If a data set has no such config; then none is built.
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
        with contextlib.redirect_stdout(io.StringIO()):  # it says that it downloads
            builder.download_and_prepare()
        examples = sum(split.num_examples for split in builder.info.splits.values())
        yield f"{dataset}/{config}", examples, builder.data_path
