"""The command line.

To add commands, write a module next to this one with a function `register(app)`,
and call that below, in the order of `hornbook --help`. `--help` and `list` must
answer at once, so a command imports what is heavy (Keras, NumPy, `hornbook.zoo`,
`hornbook.tuning`) in its body; a test holds this. What the user did wrong is an
`InputError`: `main` prints its sentence and exits with 2.
"""

import sys
from typing import Annotated

import typer

import hornbook
from hornbook.cli import data, doctor, export, finetune, recipes, shift, tune, zoo
from hornbook.errors import InputError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
finetune.register(app)
shift.register(app)
doctor.register(app)
tune.register(app)
recipes.register(app)
export.register(app)
zoo.register(app)
data.register(app)

_show_traceback = False


def _print_version(wanted: bool):
    if wanted:
        typer.echo(f"hornbook {hornbook.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
    traceback: Annotated[
        bool,
        typer.Option(
            "--traceback",
            envvar="HORNBOOK_TRACEBACK",
            help="Show where in the code a complaint about your input arose.",
        ),
    ] = False,
) -> None:
    """Recipes, a model zoo and a tuner for Keras."""
    global _show_traceback
    _show_traceback = traceback


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line, then exits.

    Args:
        arguments: List of strings, those of the process by default.

    Raises:
        SystemExit: Always. 2 means that something was asked for wrongly.
    """
    try:
        app(arguments, prog_name="hornbook")
    except InputError as error:
        _complain(error)
        sys.exit(2)


def _complain(error):
    from rich.console import Console

    if _show_traceback:
        import traceback

        traceback.print_exception(error)
    else:
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print(f"Error: {error}", style="red", markup=False, emoji=False)
