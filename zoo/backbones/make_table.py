"""Writes the table of backbones, after building each of ours and Keras's once.

    python -m hornbook.zoo.backbones.make_table

The rows of KerasHub come from KerasHub itself. Where it is not installed
(`pip install 'hornbook[hub]'`), its rows are kept unchanged.
"""

import argparse
import importlib.util
import json
from collections.abc import Iterable
from typing import Any

import keras

from hornbook.files import atomic_write
from hornbook.zoo.backbones import open_backbone
from hornbook.zoo.backbones.keras_applications import ARCHITECTURES, FAMILIES
from hornbook.zoo.backbones.shipped import native_ids
from hornbook.zoo.backbones.table import PATH, read_table

Row = dict[str, Any]
# In the order in which a card is read.
COLUMNS = (
    *("id", "source", "family", "kind", "parameters", "input_shape", "features"),
    *("has_batchnorm", "groups", "preprocessing", "weights", "licence", "paper"),
    *("head", "fine_tuning", "description"),
)


def our_rows() -> list[Row]:
    """The rows of our own backbones."""
    return [_row(open_backbone(id).card, "ours") for id in native_ids()]


def keras_rows(names: Iterable[str] = tuple(ARCHITECTURES)) -> list[Row]:
    """The rows of architectures of `keras.applications`, each of which is built."""
    rows = []
    for name in names:
        # Its weights are not needed, and the largest takes gigabytes.
        backbone = open_backbone(f"keras/{name}", weights=None)
        rows.append(_row(backbone.card, "keras"))
        del backbone
        keras.backend.clear_session()
    return rows


def hub_rows() -> list[Row]:
    """The rows of KerasHub's presets of image and text backbones; none is built."""
    from hornbook.zoo.backbones.keras_hub import hub_presets

    return [_row(card, "hub") for card in hub_presets()]


def _row(card: Row, source: str) -> Row:
    card = {"kind": "image", **card, "source": source}
    return {name: card.get(name) for name in COLUMNS if name in card}


def write_table(rows: Iterable[Row]) -> None:
    """Writes the table with one row per line, so that a diff can be read."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    with atomic_write(PATH) as new:
        new.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def main() -> None:
    """Builds the backbones and writes the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    rows = [*our_rows(), *keras_rows()]
    if importlib.util.find_spec("keras_hub"):
        rows += hub_rows()
    else:
        rows += [row for row in read_table() if row["source"] == "hub"]
    write_table(rows)
    print(f"{PATH}: {len(rows)} backbones, {len(FAMILIES)} families of Keras")


if __name__ == "__main__":
    main()
