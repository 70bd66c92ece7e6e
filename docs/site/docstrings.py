"""Public classes and functions of a file, and their docstrings cut into sections.

Nothing is imported: it is all in the syntax tree.
"""

import ast
import inspect
import re
from dataclasses import dataclass

SECTIONS = (
    "Args",
    "Call arguments",
    "Input shape",
    "Output shape",
    "Attributes",
    "Returns",
    "Yields",
    "Raises",
    "Warns",
    "Example",
    "Examples",
)
HEADING = re.compile(rf"({'|'.join(SECTIONS)}):\s*(.*)")
ITEM = re.compile(r"([*\w][\w*., ]*): +(.*)")
PROTOCOL = {"call", "build", "get_config", "from_config", "compute_output_shape"}
PROTOCOL |= {"get_build_config", "build_from_config", "compute_mask", "set_model"}


@dataclass(frozen=True)
class Section:
    """A part of a docstring.

    Attributes:
        title: `Args` and so on; "" for the text before the first of these.
        items: Pairs of a name and its blocks, where the section lists such.
        blocks: Pairs of a kind (`text`, `list`, `code`, `console`) and what it holds.
    """

    title: str
    items: tuple = ()
    blocks: tuple = ()


@dataclass(frozen=True)
class Documented:
    """A class, function or method with what is written about it."""

    name: str
    kind: str
    signature: str
    sections: tuple[Section, ...]
    methods: tuple["Documented", ...] = ()

    @property
    def summary(self):
        """The first paragraph."""
        first = self.sections[0].blocks if self.sections else ()
        return first[0][1] if first else ""

    def example(self):
        """The first example's code, as in a Python session, or ""."""
        for section in self.sections:
            if section.title.startswith("Example"):
                return "\n".join(
                    text for kind, text in section.blocks if kind[0] == "c"
                )
        return ""


def public(path):
    """The documented classes and functions of a file that others may use.

    Args:
        path: Of the Python file.

    Returns:
        A list of `Documented`, as they stand there.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        _documented(node)
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and ast.get_docstring(node)
    ]


def _documented(node, method=False):
    sections = tuple(_sections(ast.get_docstring(node) or ""))
    if isinstance(node, ast.FunctionDef):
        kind = "method" if method else "function"
        bound = method and not any(
            "static" in ast.unparse(d) for d in node.decorator_list
        )
        return Documented(node.name, kind, _signature(node, node, bound), sections)
    functions = [each for each in node.body if isinstance(each, ast.FunctionDef)]
    init = next((each for each in functions if each.name == "__init__"), None)
    methods = tuple(
        _documented(each, method=True)
        for each in functions
        if not each.name.startswith("_")
        and each.name not in PROTOCOL
        and ast.get_docstring(each)
    )
    return Documented(
        node.name, "class", _signature(node, init, True), sections, methods
    )


def _signature(node, function, bound):
    """The call, on one line or with a line for each parameter."""
    if function is None:
        fields = [
            ast.unparse(each.target)
            + (f"={ast.unparse(each.value)}" if each.value else "")
            for each in node.body
            if isinstance(each, ast.AnnAssign)
        ]
        return _call(node.name, fields or ["..."])
    if any("property" in ast.unparse(each) for each in function.decorator_list):
        return node.name
    a = function.args
    names = [*a.posonlyargs, *a.args]
    defaults = [None] * (len(names) - len(a.defaults)) + a.defaults
    parts = [_one(*pair) for pair in zip(names, defaults, strict=True)][bound:]
    if a.vararg:
        parts.append(f"*{a.vararg.arg}")
    elif a.kwonlyargs:
        parts.append("*")
    parts += [_one(*pair) for pair in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    if a.kwarg:
        parts.append(f"**{a.kwarg.arg}")
    return _call(node.name, parts)


def _one(argument, default):
    return argument.arg + (f"={ast.unparse(default)}" if default else "")


def _call(name, parts):
    line = f"{name}({', '.join(parts)})"
    if len(line) <= 72:
        return line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + ")"


def _sections(docstring):
    title, lines = "", []
    for line in docstring.splitlines():
        match = HEADING.fullmatch(line)
        if match:
            yield from _section(title, lines)
            title, lines = match[1], [match[2]] if match[2] else []
        else:
            lines.append(line)
    yield from _section(title, lines)


def _section(title, lines):
    text = inspect.cleandoc("\n".join(["", *lines]))
    if not text:
        return
    if title in ("", "Returns", "Yields", "Input shape", "Output shape") or title[
        :7
    ] == ("Example"):
        yield Section(title, blocks=tuple(_blocks(text)))
        return
    items, rest = [], []
    for line in text.splitlines():
        match = not line.startswith(" ") and ITEM.fullmatch(line)
        if match:
            items.append((match[1], [match[2]]))
        elif line.startswith(" ") or not line:
            (items[-1][1] if items else rest).append(line)
        else:
            rest.append(line)
    yield Section(
        title,
        tuple((n, tuple(_blocks(inspect.cleandoc("\n".join(t))))) for n, t in items),
        tuple(_blocks("\n".join(rest))),
    )


def _blocks(text):
    before, fence, rest = text.partition("```python\n")
    if fence:
        inside, _, after = rest.partition("```")
        yield from _blocks(before)
        yield "code", inspect.cleandoc(inside)
        yield from _blocks(after)
        return
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = block.splitlines()
        if not block.strip():
            continue
        if lines[0].lstrip().startswith(">>>"):
            yield "console", inspect.cleandoc("\n".join(["", *lines]))
        elif all(line.startswith("    ") for line in lines):
            yield "code", inspect.cleandoc("\n".join(["", *lines]))
        elif lines[0].startswith("- "):
            yield (
                "list",
                tuple(
                    " ".join(item.split()) for item in re.split(r"(?m)^- ", block)[1:]
                ),
            )
        elif any(line.startswith("- ") for line in lines):
            first = next(i for i, line in enumerate(lines) if line.startswith("- "))
            yield from _blocks("\n".join(lines[:first]))
            yield from _blocks("\n".join(lines[first:]))
        else:
            yield "text", " ".join(block.split())
