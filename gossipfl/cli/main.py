"""The command ``gossipfl``: its own sub-commands, and those of other packages by entry point.

Nothing here, nor in the modules of the sub-commands, imports torch or cryptography before a command runs, so
``gossipfl --help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gossipfl import __version__
from gossipfl.cli.repeated import require_single_values
from topology.errors import ExplainedError

__all__ = ["main", "sub_commands"]

_OWN: Mapping[str, EntryPoint] = {
    name: EntryPoint(name=name, value=f"gossipfl.cli.{name}:app", group="gossipfl.commands")
    for name in ("algorithms", "cache", "demo", "doctor", "export", "network", "peer", "predict", "stats")
}

_OWN_PACKAGES = ("gossipfl", "sims", "topology")
_EXTRAS = {
    "analyze": "sims",
    "demo": "demo",
    "peer": "demo",
    "privacy": "sims,privacy",
    "sim": "sims",
    "topology": "topology",
}


@cache  # metadata of all that is installed are read for it
def sub_commands() -> dict[str, EntryPoint]:
    """Return where each sub-command is, by name."""
    return {**{point.name: point for point in entry_points(group="gossipfl.commands")}, **_OWN}


class _SubCommands(TyperGroup):
    """Sub-commands that are imported when they are asked for."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401
        super().__init__(**attributes)
        self.commands: dict[str, Any] = dict.fromkeys(
            sub_commands()
        )  # a mistyped name is compared with these

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        del ctx
        return sorted(sub_commands())

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]  # noqa: ANN401
        del ctx
        if cmd_name not in self.commands:
            return None
        if self.commands[cmd_name] is None:
            self.commands[cmd_name] = command = typer.main.get_command(sub_commands()[cmd_name].load())
            command.name = cmd_name
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Find the command, once its options that take one value are given once."""
        require_single_values(self, ctx, args)
        return super().resolve_command(ctx, args)


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # not what a program put there
            stream.reconfigure(errors="replace")  # "?" where a terminal has no "…", not a traceback
    try:
        _app()
    except ExplainedError as error:
        typer.echo(f"gossipfl: {error}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in _OWN_PACKAGES:
            raise
        command = next((word for word in sys.argv[1:] if word in sub_commands()), "")
        typer.echo(
            f"gossipfl: `gossipfl {command}` needs {error.name}, which is not installed. "
            f"Install it: pip install 'gossipfl[{_EXTRAS.get(command, 'dev')}]'.",
            err=True,
        )
        sys.exit(2)
