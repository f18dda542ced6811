"""``gossipfl cache``: show and clear the caches on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from gossipfl.cli.options import JsonOption, command_group, tell

__all__ = ["app"]

app = command_group("Show or clear the caches on this machine.")


@app.command()
def show(*, json_output: JsonOption = False) -> None:
    """Show each cache, its place and its size."""
    from gossipfl.caches import cache_directory, caches

    found = caches()
    values = [
        {"name": c.name, "directory": str(c.directory), "files": c.files, "bytes": c.bytes} for c in found
    ]
    lines = [f"{c.name:9} {c.bytes / 1e6:9,.1f} MB in {c.files:5,} files  {c.about}" for c in found]
    lines.append(f"All in {cache_directory()}; clear with: gossipfl cache clear")
    tell(values, lines, as_json=json_output)


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
