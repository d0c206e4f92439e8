"""The root of the command line.

A command's module is imported when its command is called, so `anabranch node` loads neither tables
nor HTTP clients. `run` is the one place that turns errors into a sentence and an exit status.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ..storage.errors import AnabranchError

# The order is that of the help page. Each name is a module here that holds a Typer `app`.
COMMANDS = (
    "demo",
    "node",
    "append",
    "read",
    "tail",
    "status",
    "members",
    "compare",
    "replay",
    "drill",
    "verify",
    "simulate",
    "chaos",
)


class Commands(TyperGroup):
    """Finds each command in its own module, and only when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name all commands, for the help page."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | TyperGroup | None:
        """Load one command; None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f".{cmd_name}", __package__)
        command = typer.main.get_command(module.app)
        assert isinstance(command, TyperCommand | TyperGroup)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=Commands,
    name="anabranch",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        print(f"anabranch {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """A masterless event store for several datacenters.

    Every site writes, always; after a cut, all sites work out one history.
    Begin with `anabranch demo`.
    """


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status: 0 all is well, 1 no or failed, 2 wrong use."""
    try:
        status = _call(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_has_gone()
    except (AnabranchError, OSError) as error:
        print(f"anabranch: {error}", file=sys.stderr)
        return 1
    return status


def _call(arguments: list[str]) -> int:
    try:
        app(args=arguments, prog_name="anabranch")
    except SystemExit as ended:
        if isinstance(ended.code, int):
            return ended.code
        return 0 if ended.code is None else 1
    return 0


def _reader_has_gone() -> int:
    # `anabranch read ... | head`: nothing can be said any more, not even at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
