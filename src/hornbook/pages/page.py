"""How the pages that commands write are rendered, and how they word numbers."""

import re
import shlex
from pathlib import Path

import jinja2

HERE = Path(__file__).parent  # holds what several pages share


def environment(*folders: str | Path) -> jinja2.Environment:
    """Templates of some folders: escaped, strict, with the filters below.

    Args:
        *folders: Where the templates lie, the first first.
    """
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, HERE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        duration=duration, percent=percent, quote=shlex.quote, unbroken=unbroken
    )
    return made


def percent(fraction: float) -> str:
    """A fraction as people read it.

    Example:

    >>> percent(0.8125)
    '81.2 %'
    """
    return f"{100 * fraction:.1f} %"


def duration(seconds: float) -> str:
    """Seconds as people read them.

    Example:

    >>> duration(5.25), duration(75)
    ('5.2 s', '1 min 15 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes:,} min {seconds} s"


def plural(count: int, noun: str) -> str:
    """A number of things.

    Example:

    >>> plural(1, "label"), plural(2000, "label")
    ('1 label', '2,000 labels')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def unbroken(sentence: str) -> str:
    """Keeps numbers and what belongs to them on one line."""
    return re.sub(r"(?<=\d) (?=[%±])|(?<=±) ", "\N{NO-BREAK SPACE}", sentence)
