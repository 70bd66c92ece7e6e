"""Turns texts of headers and docstrings into HTML, and fills the templates."""

import functools
import html
import re
from pathlib import Path

import jinja2
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import BashLexer, PythonConsoleLexer, PythonLexer

from hornbook import recipe_index

HERE = Path(__file__).parent
LEXERS = {"python": PythonLexer, "pycon": PythonConsoleLexer, "console": BashLexer}


def inline(text, root="../", but=""):
    """A line of text as HTML: `code` becomes code, a recipe's name a link.

    Args:
        text: With names in backticks.
        root: Way from the page to the root.
        but: The recipe whose page this is; it is not linked.
    """
    parts = re.split(r"`+([^`]+)`+", text)
    out = []
    for number, part in enumerate(parts):
        if number % 2 == 0:
            out.append(html.escape(typeset(part), quote=False))
            continue
        code = f"<code>{html.escape(part)}</code>"
        recipe = _recipes().get(part.partition("(")[0])
        if recipe and recipe != but:
            code = f'<a href="{root}recipes/{recipe}.html">{code}</a>'
        out.append(code)
    return Markup("".join(out))


def typeset(text):
    """With curly quotes and true minus signs."""
    text = re.sub(r'"([^"]*)"', "\u201c\\1\u201d", text)
    return re.sub(r"(?<![\w.)-])-(?=\.?\d)", "\u2212", text)


def code(text, language="python"):
    """Code as HTML, in the classes that the style colours."""
    return Markup(highlight(text, LEXERS[language](), HtmlFormatter()))


def number(value, decimals, sign=False):
    """A figure with so many decimals, or as a power of ten where it would be 0."""
    plus = "+" if sign else ""
    if 0 < abs(value) < min(1e-3, 10**-decimals):
        return f"{value:{plus}.1e}"
    return f"{value:{plus}.{decimals}f}"


def plain(text):
    """Without backticks, for attributes."""
    return text.replace("`", "")


def sentence(text):
    """Begins with a capital, as in a page of its own."""
    return text[:1].upper() + text[1:]


def verdict_class(verdict):
    """The class of a verdict's badge."""
    return (verdict or "none").replace(" ", "-")


@functools.cache
def environment():
    """Jinja's, with the filters above."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "inline": inline,
        "code": code,
        "number": number,
        "plain": plain,
        "typeset": typeset,
        "sentence": sentence,
        "verdict_class": verdict_class,
    }
    return made


def fill(template, **values):
    """The text of a template."""
    return environment().get_template(template).render(**values)


@functools.cache
def _recipes():
    names = {}
    for recipe in recipe_index.recipes():
        for name in (recipe.name, *(each.name for each in recipe.objects)):
            names[name] = recipe.name
    return names
