"""``advise``: the topology that reaches a target soonest."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from topology.cli.failures import reports_errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from topology.advice import Advice, Recommendation

__all__ = ["advise"]


@reports_errors
def advise(  # noqa: PLR0917 - options of the command line
    nodes: Annotated[int, typer.Option("--nodes", "-n", help="Number of nodes.")],
    degree: Annotated[int, typer.Option(help="Models a node may send in a round.")] = 4,
    model: Annotated[str, typer.Option(help="Size of the model on the wire.")] = "5MB",
    bandwidth: Annotated[str, typer.Option(help="Uplink of every node.")] = "20Mbit",
    downlink: Annotated[
        str | None, typer.Option(help="Downlink of every node; without limit if left out.")
    ] = None,
    latency: Annotated[str, typer.Option(help="One way, between any two.")] = "20ms",
    round_trips: Annotated[
        Path | None,
        typer.Option(help="Matrix of round trips in ms (.npy, .npz or .csv) in place of --latency."),
    ] = None,
    compute: Annotated[str, typer.Option(help="Training between two rounds.")] = "0s",
    heterogeneity: Annotated[float, typer.Option(help="ζ: how much gradients differ between nodes.")] = 1.0,
    noise: Annotated[float, typer.Option(help="σ: how noisy a node's gradients are.")] = 1.0,
    target: Annotated[
        float, typer.Option(help="ε: squared gradient norm to reach, at the nodes' own models.")
    ] = 0.1,
    candidate: Annotated[list[str] | None, typer.Option(help="Consider only these; repeat.")] = None,
    hostile: Annotated[
        int,
        typer.Option(
            help="Hostile neighbours that an honest node may have; needs a rule that withstands them."
        ),
    ] = 0,
    outer: Annotated[
        str | None,
        typer.Option(
            help="Instead: outer rate, momentum and local steps of this topology, --compute being a step's time."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="For candidates drawn at random.")] = 0,
    top: Annotated[int, typer.Option(help="How many to show.", min=1)] = 10,
    plot: Annotated[Path | None, typer.Option(help="Draw their consensus curves here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,  # noqa: FBT002
) -> None:
    """Say which topology reaches the target soonest on this network, and why."""
    from topology import advice as adviser
    from topology.cli.quantities import bits_per_second, bytes_of, seconds

    if outer is not None:
        from topology.catalogue import build
        from topology.cli.outer import print_outer
        from topology.errors import InvalidParameter

        named = build(outer, implied={"n": nodes, "seed": seed})
        if named.sequence.n != nodes:
            raise InvalidParameter(
                f"{outer} has another number of nodes than --nodes", expected=nodes, got=named.sequence.n
            )
        choice = adviser.advise_outer(
            named.sequence,
            message_bytes=bytes_of(model),
            bandwidth=bits_per_second(bandwidth),
            latency=seconds(latency) if round_trips is None else _latency(round_trips, nodes, seed),
            downlink=None if downlink is None else bits_per_second(downlink),
            step_seconds=seconds(compute),
        )
        print_outer(named.expression.text, choice, as_json=as_json)
        return
    found = adviser.advise(
        nodes,
        degree,
        bytes_of(model),
        bits_per_second(bandwidth),
        seconds(latency) if round_trips is None else _latency(round_trips, nodes, seed),
        heterogeneity,
        noise,
        target=target,
        compute_seconds=seconds(compute),
        downlink=None if downlink is None else bits_per_second(downlink),
        candidates=candidate,
        hostile=hostile,
        seed=seed,
    )
    shown = found.recommendations[:top]
    if plot is not None:
        from topology import drawing

        few = {r.expression: r.curve[:40] for r in shown[:8]}
        drawing.save(drawing.plot_consensus_curves(few, title=f"{nodes} nodes, degree up to {degree}"), plot)
    if as_json:
        typer.echo(json.dumps(_as_json(found), indent=2, ensure_ascii=False))
        return
    _print(found, shown)


def _print(found: Advice, shown: tuple[Recommendation, ...]) -> None:
    from topology.cli.tables import cell, print_table

    print_table(
        ["topology", "time to target", "rounds", "s a round", "degree", "hostile"],
        [
            [
                r.expression,
                _duration(r.seconds),
                cell(r.rounds),
                cell(r.seconds_per_round),
                cell(r.cost.max_degree),
                "?" if r.hostile_neighbours is None else str(r.hostile_neighbours),
            ]
            for r in shown
        ],
        numbers=True,
    )
    typer.echo("")
    for r in shown[:3]:
        typer.echo(f"{r.expression}. {r.why}")
    typer.echo(
        "Hostile: with more such neighbours a node, no rule on neighbours' models brings the honest together."
    )
    typer.echo("Times are for comparing: the bound behind them leaves constants open, the same for all.")
    for refusal in found.refusals:
        typer.echo(f"Not considered: {refusal.expression}, because {refusal.why}.")


def _as_json(found: Advice) -> dict[str, object]:
    lifetimes = ("noise_lifetime", "difference_lifetime")
    shown = ("expression", "seconds", "rounds", "step", "seconds_per_round", *lifetimes, "why")
    return {
        "recommendations": [
            {name: getattr(r, name) for name in shown}
            | {
                "max_degree": r.cost.max_degree,
                "hostile_neighbours": r.hostile_neighbours,
                "bytes_per_round": r.cost.bytes,
                "curve": r.curve.tolist(),
            }
            for r in found.recommendations
        ],
        "refusals": [asdict(refusal) for refusal in found.refusals],
    }


def _latency(path: Path, n: int, seed: int) -> NDArray[np.float64]:
    """One-way latencies between n hosts of a measured matrix, drawn at random if it has more."""
    import numpy as np

    from topology.cost import latency_from_round_trips
    from topology.errors import InvalidParameter
    from topology.matrices import read_matrix

    measured = read_matrix(path)
    measured = measured if isinstance(measured, np.ndarray) else measured.toarray()
    latency = latency_from_round_trips(measured)
    if len(latency) < n:
        raise InvalidParameter("too few hosts were measured", expected=f"{n} rows", got=len(latency))
    hosts = np.random.default_rng(seed).choice(len(latency), size=n, replace=False)
    return latency[np.ix_(hosts, hosts)] if len(latency) > n else latency


def _duration(seconds: float) -> str:
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 86_400:,.3g} days"
