"""`hornbook list`, `show`, `copy` and `diff`: finding recipes and taking them away.

A terminal gets tables and colours. A pipe gets plain text, one thing a line, nothing
wrapped or cut.
"""

import difflib
import json
import os
import shlex
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hornbook import recipe_index
from hornbook.errors import InputError

# Where copies lie unless someone says otherwise, for `copy` and `diff` alike.
COPIES = Path("recipes")
DONE = {"new": "wrote", "differs": "overwrote", "same": "unchanged:"}
PLANNED = {"new": "would write", "differs": "would overwrite", "same": "unchanged:"}

Name = Annotated[str, typer.Argument(help="A recipe, or a class or function in it.")]


def register(app: typer.Typer) -> None:
    """Adds the four commands."""
    for name, command in {
        "list": list_recipes,
        "show": show,
        "copy": copy,
        "diff": diff,
    }.items():
        app.command(name, rich_help_panel="Recipes")(command)


def list_recipes(
    category: Annotated[
        str | None, typer.Option(help="Only this category, such as `layers`.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Everything that the headers say, as JSON.")
    ] = False,
) -> None:
    """List the recipes, each with its idea and what measuring it gave."""
    found = recipe_index.recipes()
    if category is not None:
        categories = sorted({each.category for each in found})
        if category not in categories:
            near = difflib.get_close_matches(category, categories)
            hint = recipe_index.did_you_mean(near, "list")
            raise InputError(f"There is no category {category!r}.{hint}")
        found = [each for each in found if each.category == category]

    console = _console()
    if as_json:
        typer.echo(json.dumps([_as_dict(each) for each in found], indent=2))
    elif console.is_terminal:
        console.print(_table(found))
    else:
        wide = max((len(each.category) for each in found), default=0)
        long = max((len(each.name) for each in found), default=0)
        for each in found:
            about = f"{each.idea} [{each.evidence}]"
            typer.echo(f"{each.category:{wide}}  {each.name:{long}}  {about}")


def show(
    name: Name,
    source: Annotated[
        bool, typer.Option("--source", help="Print the file itself.")
    ] = False,
) -> None:
    """Show what a recipe does, when to use it, and how to take it."""
    recipe = recipe_index.find(name)
    console = _console()
    if source:
        _print_source(recipe, console)
        return
    rows = [
        *recipe.header.items(),
        ("Evidence", recipe.evidence),
        ("License", recipe.license),
        ("", ""),
        *((each.kind.title(), each.signature) for each in recipe.objects),
        ("Import", recipe.import_line),
        ("Copy", f"hornbook copy {recipe.name}"),
    ]
    heading = f"{recipe.title} ({recipe.category}/{recipe.name})"
    if console.is_terminal:
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        for label, text in rows:
            grid.add_row(Text(label, "cyan"), Text(text))
        console.print(Text(heading, "bold"), Text(recipe.idea), "", grid, sep="\n")
    else:
        typer.echo(f"{heading}\n{recipe.idea}\n")
        for label, text in rows:
            typer.echo(f"{label:8}  {text}".rstrip())


def copy(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Recipes, or classes or functions in them.", metavar="NAME"
        ),
    ],
    to: Annotated[
        Path, typer.Option(help="Folder for the copies, made where missing.")
    ] = COPIES,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite files that differ from ours.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing, only say what would be.")
    ] = False,
) -> None:
    """Copy recipes into your project, byte for byte: each file is yours then.

    A file that is there already and differs is left alone, and nothing is written at
    all, unless you say --force.
    """
    known = recipe_index.recipes()
    wanted = list(dict.fromkeys(recipe_index.find(name, known) for name in names))
    if to.exists() and not to.is_dir():
        raise InputError(f"Cannot copy to {to}: it is not a folder.")
    plan = {recipe: _state(recipe, to / recipe.path.name) for recipe in wanted}
    differing = [recipe for recipe, state in plan.items() if state == "differs"]
    if differing and not force:
        raise InputError(_refusal(differing, to))

    writing = [recipe for recipe, state in plan.items() if state != "same"]
    if writing and not dry_run:
        _write(writing, to)
    for recipe, state in plan.items():
        verb = (PLANNED if dry_run else DONE)[state]
        typer.echo(f"{verb} {to / recipe.path.name}")
    typer.echo("\nImport with" + _where(to))
    for recipe in wanted:
        typer.echo(f"    {_import_line(recipe, to)}")


def diff(
    name: Name,
    path: Annotated[
        Path, typer.Argument(help="Your copy, or the folder that it is in.")
    ] = COPIES,
) -> None:
    """Show what your copy of a recipe changes in ours.

    Exits with 0 where both are the same, 1 where they differ, 2 where there is no copy
    to compare.
    """
    recipe = recipe_index.find(name)
    if path.is_dir():
        path = path / recipe.path.name
    ours, theirs = recipe.path.read_bytes(), _read(path)
    if theirs == ours:
        typer.echo(f"{path} is the same as ours.", err=True)
        return
    lines = difflib.unified_diff(
        ours.decode().splitlines(),
        theirs.decode(errors="replace").splitlines(),
        fromfile=f"hornbook/{recipe.category}/{recipe.path.name}",
        tofile=str(path),
        lineterm="",
    )
    _print_diff(list(lines) or [f"{path} differs from ours in its line endings only."])
    raise typer.Exit(1)


def _console():
    from rich.console import Console

    return Console()


def _as_dict(recipe):
    return {
        **asdict(recipe),
        "path": str(recipe.path),
        "import": recipe.import_line,
        "evidence": recipe.evidence,
    }


def _table(found):
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    category = None
    for each in found:
        if each.category != category:
            if category:
                table.add_row()
            category = each.category
            table.add_row(Text(category, "bold"))
        about = Text.assemble(each.idea, "\n", (each.evidence, "dim"))
        table.add_row(Text(f"  {each.name}", "cyan"), about)
    return table


def _print_source(recipe, console):
    if console.is_terminal:
        from rich.syntax import Syntax

        text = recipe.path.read_text(encoding="utf-8")
        console.print(
            Syntax(
                text,
                "python",
                theme="ansi_dark",
                background_color="default",
                word_wrap=True,
            )
        )
    else:
        typer.echo(recipe.path.read_bytes(), nl=False)


def _print_diff(lines):
    console = _console()
    if not console.is_terminal:
        for line in lines:
            typer.echo(line)
        return
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in lines:
        style = "bold" if line[:3] in ("---", "+++") else styles.get(line[:1])
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def _read(path):
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error


def _state(recipe, target):
    """How a file compares with ours: "new", "same" or "differs"."""
    if not os.path.lexists(target):
        return "new"
    if target.is_dir():
        raise InputError(f"Cannot write {target}: it is a folder.")
    if target.is_file() and _read(target) == recipe.path.read_bytes():
        return "same"
    return "differs"


def _refusal(differing, to):
    paths = " and ".join(str(to / recipe.path.name) for recipe in differing)
    first = differing[0]
    path = shlex.quote(str(to / first.path.name))
    return (
        f"Nothing was written: {paths} would be overwritten. "
        f"See `hornbook diff {first.name} {path}`, then choose another --to or --force."
    )


def _write(wanted, to):
    """Publishes all the files, or none where one cannot be written."""
    try:
        to.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".hornbook-", dir=to) as staging:
            staged = [Path(staging, recipe.path.name) for recipe in wanted]
            for path, recipe in zip(staged, wanted, strict=True):
                path.write_bytes(recipe.path.read_bytes())
            for path in staged:
                os.replace(path, to / path.name)
    except OSError as error:
        raise InputError(f"Cannot write to {to}: {error.strerror}.") from error


def _package(to):
    """The dotted name under which Python finds a folder from here, or None."""
    try:
        parts = to.resolve().relative_to(Path.cwd().resolve()).parts
    except ValueError:
        return None
    return parts if all(part.isidentifier() for part in parts) else None


def _where(to):
    return ":" if _package(to) is not None else f", where {to} is on Python's path:"


def _import_line(recipe, to):
    module = ".".join([*(_package(to) or ()), recipe.name])
    return f"from {module} import {', '.join(each.name for each in recipe.objects)}"
