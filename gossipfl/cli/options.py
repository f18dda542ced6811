"""Options that commands share, and their output for people or machines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gossipfl.errors import SettingError

__all__ = ["HomeOption", "JsonOption", "command_group", "tell"]

HomeOption = Annotated[Path, typer.Option("--home", help="Directory of the peer.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


class _OneHome(TyperGroup):
    """Commands that refuse ``--home`` given twice, of which the first would silently have no effect."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Find the command, once its arguments name one home at most."""
        homes = [each for each in args if each == "--home" or each.startswith("--home=")]
        if len(homes) > 1:
            raise SettingError(
                "--home is given more than once",
                expected="one home",
                got=len(homes),
                remedy="Run the command once for each home.",
            )
        return super().resolve_command(ctx, args)


def command_group(about: str) -> typer.Typer:
    """Return a group of commands with this help."""
    return typer.Typer(
        cls=_OneHome, no_args_is_help=True, help=about, add_completion=False, pretty_exceptions_enable=False
    )


def tell(values: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print values as JSON for machines, or lines for people."""
    for line in [json.dumps(values)] if as_json else lines:
        typer.echo(line)
