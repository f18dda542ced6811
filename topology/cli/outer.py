"""Outer steps of a topology, as ``advise --outer`` prints them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from topology.advice import OuterAdvice

__all__ = ["print_outer"]


def print_outer(expression: str, found: OuterAdvice, *, as_json: bool) -> None:
    """Print an outer rate, a momentum and a number of local steps, and why."""
    if as_json:
        typer.echo(json.dumps({"expression": expression, **asdict(found)}, indent=2, ensure_ascii=False))
        return
    from topology.cli.tables import cell, print_table

    print_table(
        ["μ", "fastest η", "factor a round", "stable below η"],
        [
            [
                f"{each.momentum:g}",
                f"{each.fastest.rate:.3g}",
                f"{each.fastest.factor:.4f}",
                cell(each.stable_below),
            ]
            for each in found.choices
        ],
        title=expression,
        numbers=True,
    )
    typer.echo("")
    if found.step is None:
        typer.echo("No momentum lets disagreement halve in two rounds: take μ = 0 and its fastest η.")
    else:
        step = found.step
        typer.echo(
            f"η = {step.rate:.2f} and μ = {step.momentum:g}: of all with η ≤ 1 that halve disagreement in two "
            f"rounds (factor {step.factor:.3f}), the farthest step in the end, η/(1 − μ) = {step.progress:.2f}."
        )
    if found.rounds_drawn is not None:
        typer.echo(
            f"Factors are estimated from {found.rounds_drawn:,} rounds as they are drawn, to some 5 %."
        )
    if found.local_steps is None:
        typer.echo(
            f"An exchange takes {found.cost.seconds:.3g} s, a tenth of the time for no H where steps take none: "
            "give --compute, seconds of a step."
        )
    else:
        typer.echo(
            f"H = {found.local_steps}: an exchange takes {found.cost.seconds:.3g} s, at most a tenth of the time."
        )
