"""Options that commands share, and their output for people or machines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "FineTuneOption",
    "HomeOption",
    "JsonOption",
    "LingerOption",
    "MinutesOption",
    "RosterOption",
    "SharedOption",
    "command_group",
    "tell",
]

HomeOption = Annotated[Path, typer.Option("--home", help="Directory of the peer.")]
SharedOption = Annotated[
    bool, typer.Option("--shared", help="The model that the peer shares, not a personal one beside it.")
]
FineTuneOption = Annotated[
    int | None,
    typer.Option(
        "--fine-tune",
        min=0,
        help="Train the model so many steps on the peer's own samples first; by default as many as its settings "
        "say (personal.fine_tune), and none with --shared.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
LingerOption = Annotated[
    float, typer.Option("--linger", help="Seconds to stay at most once all are here, for the others.")
]
MinutesOption = Annotated[float | None, typer.Option("--minutes", help="Give up after so many minutes.")]
RosterOption = Annotated[
    list[str] | None,
    typer.Option("--member", help="Peer id of a member; repeatable, and needed for all, four or more."),
]


def command_group(about: str) -> typer.Typer:
    """Return a group of commands with this help."""
    return typer.Typer(no_args_is_help=True, help=about, add_completion=False, pretty_exceptions_enable=False)


def tell(values: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print values as JSON for machines, or lines for people."""
    for line in [json.dumps(values)] if as_json else lines:
        typer.echo(line)
