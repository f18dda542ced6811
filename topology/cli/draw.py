"""``draw``: pictures of topologies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from topology.cli.failures import reports_errors

__all__ = ["draw"]


@reports_errors
def draw(
    expression: Annotated[str, typer.Argument(help="Such as ring:64, torus:8x8 or base:25,k=2.")],
    out: Annotated[Path, typer.Argument(help="A .svg, .png or .pdf; a .gif shows it mixing.")],
    rounds: Annotated[
        int | None, typer.Option(help="How many rounds to show; by default a period.", min=1)
    ] = None,
    first: Annotated[int, typer.Option(help="First round to show.", min=0)] = 0,
) -> None:
    """Draw a topology, or (as a .gif) how it mixes the nodes' values round by round."""
    from topology import drawing
    from topology.catalogue import build

    named = build(expression)
    if out.suffix.lower() == ".gif":
        period = named.sequence.period or 12
        drawing.animate_mixing(named, out, rounds=rounds or (16 if period == 1 else min(period, 24)))
    else:
        shown = list(range(first, first + rounds)) if rounds else [first] if first else None
        drawing.save(drawing.draw_network(named, rounds=shown), out)
    typer.echo(f"wrote {out}")
