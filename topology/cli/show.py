"""``show`` and ``compare``: facts about topologies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from topology.cli.failures import reports_errors

__all__ = ["compare", "show"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Tolerance = Annotated[float, typer.Option(help="Consensus distance that counts as consensus.")]


@reports_errors
def show(
    expression: Annotated[str, typer.Argument(help="Such as ring:64, torus:8x8 or base:25,k=2.")],
    tolerance: Tolerance = 1e-6,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Show the properties of one topology: size, degrees, spectrum, rounds to consensus."""
    from topology.catalogue import build
    from topology.cli.facts import facts_of

    facts = facts_of(build(expression), tolerance=tolerance)
    if as_json:
        typer.echo(json.dumps(_finite(facts), indent=2, ensure_ascii=False))
        return
    from topology.cli.tables import cell, plain, print_table

    labels = {
        "mean_degree": "mean degree",
        "share_removed": "share of disagreement removed",
        "share_removed_in_rounds": "… in so many rounds",
        "share_removed_is": "… is",
        "algebraic_connectivity": "μ₂ of the Laplacian",
        "hostile_neighbours": "hostile neighbours survivable at best",
        "spectral_gap": "spectral gap",
        "effective_neighbours": "effective neighbours, γ = 0.99",
        "rounds": f"rounds to consensus within {plain(tolerance)}",
        "rounds_bound": "… from any start, at most",
    }
    rows = [
        [labels.get(name, name), cell(value, name)] for name, value in facts.items() if name != "expression"
    ]
    print_table(["", expression], rows)


@reports_errors
def compare(  # noqa: PLR0917 - options of the command line
    expressions: Annotated[list[str], typer.Argument(help="Two or more topologies.")],
    rounds: Annotated[int, typer.Option(help="Rounds of the consensus curves.", min=1)] = 60,
    tolerance: Tolerance = 1e-6,
    model: Annotated[str | None, typer.Option(help="Size of a model, such as 5MB; adds costs.")] = None,
    bandwidth: Annotated[str, typer.Option(help="Uplink of every node.")] = "20Mbit",
    latency: Annotated[str, typer.Option(help="One way.")] = "20ms",
    plot: Annotated[Path | None, typer.Option(help="Draw the consensus curves here.")] = None,
    scatter: Annotated[Path | None, typer.Option(help="Draw degree against gap here.")] = None,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Compare topologies: degree, gap, rounds to consensus, costs, curves."""
    from topology.catalogue import build
    from topology.cli.facts import comparison_facts
    from topology.cli.quantities import bits_per_second, bytes_of, seconds

    network = None
    if model is not None:
        network = {
            "message_bytes": float(bytes_of(model)),
            "bandwidth": bits_per_second(bandwidth),
            "latency": seconds(latency),
        }
    rows = [
        comparison_facts(build(expression), rounds=rounds, tolerance=tolerance, network=network)
        for expression in dict.fromkeys(expressions)
    ]
    _plots(rows, plot, scatter)
    if as_json:
        typer.echo(json.dumps([_finite(row) for row in rows], indent=2, ensure_ascii=False))
        return
    from topology.cli.tables import cell, plain, print_table

    headings = {
        "expression": "topology",
        "nodes": "nodes",
        "degree": "degree",
        "removed_per_round": "p/τ",
        "rounds": f"rounds to {plain(tolerance)}",
        "noise_lifetime": "noise lifetime",
    }
    if network is not None:
        headings |= {"seconds_per_round": "s/round", "bytes_per_round": "MB/round"}
    body = [[cell(row[key], key) for key in headings] for row in rows]
    print_table(list(headings.values()), body, numbers=True)


def _plots(rows: list[dict[str, object]], plot: Path | None, scatter: Path | None) -> None:
    if plot is None and scatter is None:
        return
    import numpy as np

    from topology import drawing

    if plot is not None:
        curves = {str(row["expression"]): np.array(row["curve"]) for row in rows}
        drawing.save(drawing.plot_consensus_curves(curves), plot)
    if scatter is not None:
        points = [
            drawing.DegreeAndGap(
                name=str(row["expression"]),
                degree=int(str(row["degree"])),
                gap=float(str(row["removed_per_round"])),
                changes=row["period"] != 1,
            )
            for row in rows
        ]
        drawing.save(drawing.plot_degree_against_gap(points), scatter)


def _finite(facts: dict[str, object]) -> dict[str, object]:
    """JSON has no infinities: they become null."""
    return {
        name: None if isinstance(value, float) and value in (float("inf"), float("-inf")) else value
        for name, value in facts.items()
    }
