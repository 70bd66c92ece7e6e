"""Reads the table of backbones, without importing Keras."""

import difflib
import functools
import json
from pathlib import Path
from typing import Any

from hornbook.errors import InputError

PATH = Path(__file__).with_name("table.json")


@functools.cache
def read_table() -> tuple[dict[str, Any], ...]:
    """The rows of the table, each the card of a backbone."""
    return tuple(json.loads(PATH.read_text(encoding="utf-8")))


def list_backbones(
    source: str | None = None,
    family: str | None = None,
    max_params: float | None = None,
) -> list[dict[str, Any]]:
    """The zoo's backbones, or those of them that fit.

    Args:
        source: String, "ours", "keras" or "hub". Defaults to None, for all.
        family: String, such as "resnet". Defaults to None, for all.
        max_params: Integer, how many parameters they may have, without a head.
            Defaults to None, for any number.

    Returns:
        List of dicts, each a backbone's card, in the order of the table. `"id"` is what
        `open_backbone` and `fine_tune` take.

    Raises:
        InputError: If there is no such source or family.

    Example:

    >>> [row["id"] for row in list_backbones("ours", family="wide_resnet")]
    ['wide_resnet16_4']
    """
    rows = list(read_table())
    for key, wanted in (("source", source), ("family", family)):
        known = sorted({row[key] for row in rows})
        if wanted is not None and wanted not in known:
            raise InputError(
                f"The {key} is unknown; it must be one of {', '.join(known)}. "
                f"Received: {wanted}"
            )
        rows = [row for row in rows if wanted in (None, row[key])]
    if max_params is not None:
        rows = [row for row in rows if (row["parameters"] or 0) <= max_params]
    return rows


def find(id: str) -> dict[str, Any]:
    """The card of a backbone.

    Args:
        id: Id of the backbone.

    Raises:
        InputError: If the id is unknown; the message names similar ids.
    """
    rows = {row["id"]: row for row in read_table()}
    if id in rows:
        return rows[id]
    near = difflib.get_close_matches(id, rows, n=3, cutoff=0.5)
    alike = f"; similar ids are {', '.join(near)}" if near else ""
    raise InputError(
        f"The backbone is unknown{alike}. `hornbook zoo list` lists all. Received: {id}"
    )
