"""The command ``gossipfl``: its own sub-commands, and those of other packages by entry point.

Nothing here, nor in the modules of the sub-commands, imports torch or libp2p before a command runs, so
``gossipfl --help`` answers at once.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gossipfl import __version__
from gossipfl.errors import GossipflError

__all__ = ["main"]

_OWN: Mapping[str, EntryPoint] = {
    name: EntryPoint(name=name, value=f"gossipfl.cli.{name}:app", group="gossipfl.commands")
    for name in ("demo", "peer")
}


def _sub_commands() -> dict[str, EntryPoint]:
    return {**{point.name: point for point in entry_points(group="gossipfl.commands")}, **_OWN}


class _SubCommands(TyperGroup):
    """Sub-commands that are imported when they are asked for."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        del ctx
        return sorted(_sub_commands())

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]  # noqa: ANN401
        del ctx
        point = _sub_commands().get(cmd_name)
        if point is None:
            return None
        try:
            app = getattr(importlib.import_module(point.module), point.attr)
        except ModuleNotFoundError as error:
            app = _not_installed(cmd_name, str(error.name))
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command


def _not_installed(name: str, library: str) -> typer.Typer:
    """Stand in for a sub-command whose libraries are missing: it says what to do."""
    app = typer.Typer(help=f"(not installed: pip install 'gossipfl[{name}]')")

    @app.callback(
        invoke_without_command=True,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def fail() -> None:
        raise GossipflError(
            f"`gossipfl {name}` needs {library}, which is not installed",
            remedy=f"Install it: pip install 'gossipfl[{name}]'.",
        )

    return app


_app = typer.Typer(
    cls=_SubCommands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  (the signature that typer calls)
    if wanted:
        typer.echo(f"gossipfl {__version__}")
        raise typer.Exit


@_app.callback()
def _gossipfl(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Peer-to-peer gossip learning: peers train on their own data and converge to one shared model."""
    del version


def main() -> None:
    """Run the command; a named error is one message and exit code 2, never a traceback."""
    try:
        _app()
    except GossipflError as error:
        typer.echo(f"gossipfl: {error}", err=True)
        sys.exit(2)
