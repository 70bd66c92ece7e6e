"""What backbones there are: a committed table, so that nothing is built to list them.

`table.json` is written by `python -m hornbook.zoo.catalog.make`.
"""

from hornbook.zoo.catalog.table import find, select

__all__ = ["find", "select"]
