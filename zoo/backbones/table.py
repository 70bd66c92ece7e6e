"""Reads the table of backbones. Imports nothing heavy."""

import difflib
import functools
import json
from pathlib import Path

from hornbook.errors import InputError

PATH = Path(__file__).with_name("table.json")


@functools.cache
def read_table():
    """The rows of the table, each a card without the model."""
    return tuple(json.loads(PATH.read_text(encoding="utf-8")))


def list_backbones(
    source: str | None = None,
    family: str | None = None,
    max_params: int | None = None,
) -> list[dict]:
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
        InputError: if there is no such source or family.

    Example:

    >>> [row["id"] for row in list_backbones("ours", family="wide_resnet")]
    ['wide_resnet16_4']
    """
    rows = list(read_table())
    for key, wanted in (("source", source), ("family", family)):
        known = sorted({row[key] for row in rows})
        if wanted is not None and wanted not in known:
            raise InputError(
                f"There is no {key} of that name; there are {', '.join(known)}. "
                f"Received: {wanted}"
            )
        rows = [row for row in rows if wanted in (None, row[key])]
    if max_params is not None:
        rows = [row for row in rows if (row["parameters"] or 0) <= max_params]
    return rows


def find(id):
    """The row of a backbone.

    Raises:
        InputError: if there is none of that id, with those that look like it.
    """
    rows = {row["id"]: row for row in read_table()}
    if id in rows:
        return rows[id]
    near = difflib.get_close_matches(id, rows, n=3, cutoff=0.5)
    near = f"; near it are {', '.join(near)}" if near else ""
    raise InputError(
        f"The zoo has no backbone of that name{near}. `hornbook zoo list` names all. "
        f"Received: {id}"
    )
