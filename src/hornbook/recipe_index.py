"""The catalog: what each recipe's file says about itself, read without importing it.

Importing a recipe imports Keras, which takes seconds. Everything the catalog tells
stands in the file: the licence in its first line, the header in its docstring, the
public classes and functions in its syntax tree.
"""

import ast
import difflib
import functools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hornbook.errors import InputError

FIELDS = ("What", "When", "Not for", "Source", "Differs", "Needs")
OPTIONAL = ("Differs",)
UNMEASURED = "not measured yet"
SPDX = re.compile(r"# SPDX-License-Identifier: (\S+)")
FIELD = re.compile(r"([A-Z][A-Za-z ]*):\s*(.*)")


@dataclass(frozen=True)
class PublicObject:
    """A class or function that a recipe offers."""

    name: str
    kind: str
    signature: str
    summary: str


@dataclass(frozen=True)
class Recipe:
    """A recipe's file and header."""

    name: str
    category: str
    title: str
    idea: str
    what: str
    when: str
    not_for: str
    source: str
    differs: str
    needs: str
    license: str
    objects: tuple[PublicObject, ...]
    path: Path

    @property
    def module(self) -> str:
        """Where the file is imported from."""
        return f"hornbook.recipes.{self.category}.{self.name}"

    @property
    def import_line(self) -> str:
        """The import for someone who has Hornbook installed."""
        names = ", ".join(each.name for each in self.objects)
        return f"from hornbook.recipes.{self.category} import {names}"

    @property
    def evidence(self) -> str:
        """Verdict and figure of its study, or what its test holds, in one line."""
        found = evidence().get(self.name)
        if not found:
            return UNMEASURED
        line = f"{found['verdict']}: {found['figure']}"
        return f"{line}; {found['seeds']} seeds" if found["seeds"] else line

    @property
    def header(self) -> dict[str, str]:
        """The header's fields by name, without those that it leaves out."""
        fields = {name: getattr(self, _attribute(name)) for name in FIELDS}
        return {name: text for name, text in fields.items() if text}


def folder() -> Path:
    """Where `hornbook.recipes` lies, in a checkout as in an installed wheel."""
    # Of a submodule, find_spec imports the parent only.
    spec: Any = find_spec("hornbook.recipes")
    return Path(spec.submodule_search_locations[0])


@functools.cache
def evidence() -> dict[str, dict[str, Any]]:
    """What the studies say of the recipes, as `docs/site/evidence.py` wrote it.

    Returns:
        Dict from a recipe's name to `study` or `test`, `verdict`, `figure` and `seeds`.
    """
    path = Path(__file__).with_name("evidence.json")
    return json.loads(path.read_text(encoding="utf-8"))


def recipes(root: Path | None = None) -> list[Recipe]:
    """Reads every recipe.

    Args:
        root: Folder with a folder for each category. Ours by default.

    Returns:
        A list of `Recipe`, by category and name.

    Raises:
        InputError: If a file's header is broken; it names the file and the field.
    """
    return [read(path) for path in files(root or folder())]


def files(root: Path) -> list[Path]:
    """The recipes' files below a folder, by category and name."""
    return sorted(p for p in root.glob("*/*.py") if not p.name.startswith("_"))


def read(path: Path) -> Recipe:
    """Reads one recipe's file.

    Args:
        path: Its path; the folder is the category.

    Returns:
        A `Recipe`.

    Raises:
        InputError: If the header is broken; it names the file and the field.
    """

    def broken(problem):
        return InputError(f"{path}: {problem}.")

    text = path.read_text(encoding="utf-8")
    spdx = SPDX.match(text)
    if not spdx:
        raise broken("the first line is not `# SPDX-License-Identifier: ...`")
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise broken(f"line {error.lineno} is not Python, {error.msg}") from error

    title, fields = _header(ast.get_docstring(tree) or "", broken)
    title, _, idea = title.partition(": ")
    if not idea:
        raise broken("the docstring does not begin with `Title: the idea.`")
    for name in FIELDS:
        if not fields.get(name) and name not in OPTIONAL:
            raise broken(f"the header has no `{name}:`")

    objects = tuple(_public_objects(tree))
    if _key(path.stem) not in {_key(each.name) for each in objects}:
        raise broken("no public class or function has the file's name")
    return Recipe(
        name=path.stem,
        category=path.parent.name,
        title=title,
        idea=idea,
        license=spdx[1],
        objects=objects,
        path=path,
        **{_attribute(name): fields.get(name, "") for name in FIELDS},
    )


def find(name: str, among: Iterable[Recipe] | None = None) -> Recipe:
    """Finds a recipe by its name or by that of a class or function in it.

    Case, hyphens and underscores make no difference: `maxout`, `Maxout` and
    `max-out` are one.

    Args:
        name: What someone typed.
        among: Recipes to look through. All of ours by default.

    Returns:
        A `Recipe`.

    Raises:
        InputError: If there is none; it says which names are near.
    """
    known: dict[str, Recipe] = {}
    for recipe in recipes() if among is None else among:
        for each in (recipe.name, *(each.name for each in recipe.objects)):
            known.setdefault(_key(each), recipe)
    if _key(name) in known:
        return known[_key(name)]
    near = difflib.get_close_matches(_key(name), known, n=3)
    names = dict.fromkeys(known[key].name for key in near)
    raise InputError(f"There is no recipe {name!r}.{did_you_mean(names, 'list')}")


def did_you_mean(names: Iterable[str], command: str) -> str:
    """The end of a sentence about an unknown name."""
    if names := list(names):
        return f" Did you mean {' or '.join(names)}?"
    return f" `hornbook {command}` shows what there is."


def _header(docstring, broken):
    """Splits a docstring into its first paragraph and the fields of its second."""
    title, _, rest = docstring.partition("\n\n")
    fields, name = {}, None
    for line in rest.partition("\n\n")[0].splitlines():
        if line[:1].isspace() and name:
            fields[name] += " " + line.strip()
            continue
        match = FIELD.match(line)
        name = match and match[1]
        if name not in FIELDS:
            raise broken(f"the header's line {line!r} begins with no known field")
        if name in fields:
            raise broken(f"the header has `{name}:` twice")
        fields[name] = match[2].strip()
    return " ".join(title.split()), fields


def _public_objects(tree):
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            kind, arguments = "function", ast.unparse(node.args)
        elif isinstance(node, ast.ClassDef):
            kind, arguments = "class", _constructor_arguments(node)
        else:
            continue
        if not node.name.startswith("_"):
            summary = (ast.get_docstring(node) or "").partition("\n\n")[0]
            signature = f"{node.name}({arguments})"
            yield PublicObject(node.name, kind, signature, " ".join(summary.split()))


def _constructor_arguments(node):
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            arguments = each.args
            del (arguments.posonlyargs or arguments.args)[0]
            return ast.unparse(arguments)
    return "..."


def _attribute(field):
    return field.lower().replace(" ", "_")


def _key(name):
    return re.sub(r"[-_\s]", "", name).lower()
