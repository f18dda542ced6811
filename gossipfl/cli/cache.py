"""``gossipfl cache``: show and clear the caches on this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Show or clear the caches on this machine.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(*, json_output: JsonOption = False) -> None:
    """Show each cache, its place and its size."""
    from gossipfl.caches import cache_directory, caches

    found = caches()
    if json_output:
        values = [
            {"name": c.name, "directory": str(c.directory), "files": c.files, "bytes": c.bytes} for c in found
        ]
        typer.echo(json.dumps(values))
        return
    for each in found:
        typer.echo(f"{each.name:9} {each.bytes / 1e6:9,.1f} MB in {each.files:5,} files  {each.about}")
    typer.echo(f"All in {cache_directory()}; clear with: gossipfl cache clear")


@app.command()
def clear(
    names: Annotated[list[str] | None, typer.Argument(help="Caches to delete; by default all.")] = None,
) -> None:
    """Delete caches; they are recreated when needed."""
    from gossipfl import caches

    before = {each.name: each.bytes for each in caches.caches()}
    for name in names or before:
        caches.clear(name)
        typer.echo(f"{name}: {before[name] / 1e6:,.1f} MB cleared")
