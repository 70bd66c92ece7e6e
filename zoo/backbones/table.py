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


def select(source=None, family=None, max_params=None):
    """The backbones that fit.

    Args:
        source: "ours", "keras" or "hub"; None for all.
        family: Such as "resnet"; None for all.
        max_params: How many parameters they may have, without a head.

    Returns:
        List of dicts.

    Raises:
        InputError: if there is no such source or family.

    Example:

    >>> [row["id"] for row in select("ours", family="wide_resnet")]
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
