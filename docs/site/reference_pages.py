"""What can be called: the packages, from their docstrings, and the commands.

Packages are read and never imported; the command line is, which is light.
"""

import ast

import docstrings
import measured
import typer
from words import fill

PACKAGES = {"hornbook.tuning": "tuning", "hornbook.zoo": "zoo"}


def pages():
    """Yields the path and the text of each page."""
    packages = list(_packages())
    for package in packages:
        yield f"reference/{package['name']}.md", fill("package.md", package=package)
    yield "reference/commands.md", fill("commands.md", commands=list(commands()))
    yield "reference/index.md", fill("reference.md", packages=packages)


def commands():
    """Yields each command of the command line, groups' commands too.

    Yields:
        A dict with `name`, `help`, `arguments` and `options`; the latter are lists of
        dicts with `names`, `help` and `default`.
    """
    from hornbook.cli import app

    yield from _commands("hornbook", typer.main.get_command(app))


def _commands(name, command):
    if hasattr(command, "commands"):
        for each, inner in command.commands.items():
            yield from _commands(f"{name} {each}", inner)
        return
    yield {
        "name": name,
        "help": command.help or "",
        "arguments": [_argument(p) for p in command.params if _is_argument(p)],
        "options": [_option(p) for p in command.params if not _is_argument(p)],
    }


def _is_argument(parameter):
    return parameter.param_type_name == "argument"


def _argument(parameter):
    return {"names": parameter.name.upper(), "help": parameter.help or ""}


def _option(parameter):
    return {
        "names": ", ".join([*parameter.opts, *parameter.secondary_opts]),
        "help": parameter.help or "",
    }


def _packages():
    for top, folder in PACKAGES.items():
        root = measured.ROOT / folder
        for init in sorted(root.rglob("__init__.py")):
            inner = init.parent.relative_to(root).parts
            yield _package(".".join([top, *inner]), init)


def _package(name, init):
    modules = [
        {
            "name": f"{name}.{path.stem}",
            "short": path.stem,
            "about": (ast.get_docstring(_tree(path)) or "").partition("\n\n")[0],
            "objects": docstrings.public(path),
        }
        for path in sorted(init.parent.glob("[!_]*.py"))
    ]
    offered = _offered(init)
    names = [each.name for each in offered]
    line = f"from {name} import {', '.join(names)}"
    if len(line) > 72:
        inside = "".join(f"    {each},\n" for each in names)
        line = f"from {name} import (\n{inside})"
    return {
        "name": name,
        "about": ast.get_docstring(_tree(init)) or "",
        "imports": line,
        "offered": offered,
        "modules": [each for each in modules if each["objects"]],
    }


def _offered(init):
    """What a package exports by `__all__`, wherever below it that is defined."""
    names = [
        name
        for node in _tree(init).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for name in ast.literal_eval(node.value)
    ]
    found = {
        each.name: each
        for path in sorted(init.parent.rglob("[!_]*.py"), reverse=True)
        for each in docstrings.public(path)
    }
    return [found[name] for name in names if name in found]


def _tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))
