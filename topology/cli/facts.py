"""Facts about topologies, computed once for both tables and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from topology.advice import lifetimes, rate_of
from topology.catalogue import NamedTopology
from topology.cost import sequence_cost
from topology.errors import SolverFailed
from topology.spectrum import (
    algebraic_connectivity,
    effective_neighbours,
    expected_consensus_curve,
    hostile_neighbours_survivable,
    predicted_rounds_to_consensus,
    rounds_to_consensus,
    spectral_gap,
)

__all__ = ["comparison_facts", "facts_of"]

_STEPPED_NODES = 4096
_STEP_LIMIT = 20_000
_SPECTRUM_NODES = 100_000


def facts_of(named: NamedTopology, *, tolerance: float) -> dict[str, object]:
    """Facts about one topology, by name; those too costly for its size are omitted."""
    sequence, graph, read = named.sequence, named.graph, named.expression
    facts: dict[str, object] = {
        "expression": named.name,
        "family": read.family.name,
        "kind": read.family.described_kind,
        "summary": read.family.summary,
        "citation": read.family.citation,
        "nodes": sequence.n,
        "degree": sequence.degree,
        "period": sequence.period,
        "stochastic": sequence.stochastic,
        "symmetric": sequence.symmetric,
    }
    if graph is not None:
        facts["links"] = graph.number_of_edges
        facts["mean_degree"] = float(graph.degrees.mean())
    if sequence.n > _SPECTRUM_NODES:
        return facts
    if graph is not None and not graph.directed and graph.n > 1:
        facts["algebraic_connectivity"] = algebraic_connectivity(graph)
        facts["hostile_neighbours"] = hostile_neighbours_survivable(graph)
    rate = rate_of(sequence)
    facts["share_removed"] = rate.p
    facts["share_removed_in_rounds"] = rate.rounds
    facts["share_removed_is"] = rate.kind
    if sequence.period == 1:
        facts["spectral_gap"] = spectral_gap(sequence.matrix(0))
        if sequence.n <= _STEPPED_NODES:
            facts["effective_neighbours"] = effective_neighbours(sequence.matrix(0), 0.99)
    if sequence.n <= _STEPPED_NODES:
        facts["rounds"] = _rounds(named, tolerance)
    # Of a long ring the bound is beyond what the solver resolves; it is left out then.
    with suppress(SolverFailed):
        facts["rounds_bound"] = float(predicted_rounds_to_consensus(sequence, min(tolerance, 0.5)))
    return facts


def comparison_facts(
    named: NamedTopology, *, rounds: int, tolerance: float, network: Mapping[str, float] | None
) -> dict[str, object]:
    """Facts that set topologies apart, and the consensus curve over `rounds` rounds.

    `network` holds message_bytes, bandwidth and latency for a column of seconds.
    """
    sequence = named.sequence
    rate = rate_of(sequence)
    curve = np.asarray(expected_consensus_curve(sequence, rounds), dtype=np.float64)
    facts: dict[str, object] = {
        "expression": named.name,
        "nodes": sequence.n,
        "degree": sequence.degree,
        "removed_per_round": rate.p / rate.rounds,
        "period": sequence.period,
        "rounds": _rounds(named, tolerance) if sequence.n <= _STEPPED_NODES else None,
        "noise_lifetime": lifetimes(curve, rate)[0] if rate.p > 0 else None,
        "curve": curve.tolist(),
    }
    if network is not None:
        cost = sequence_cost(
            sequence,
            message_bytes=int(network["message_bytes"]),
            bandwidth=network["bandwidth"],
            latency=network["latency"],
        )
        facts["seconds_per_round"] = cost.seconds
        facts["bytes_per_round"] = cost.bytes
    return facts


def _rounds(named: NamedTopology, tolerance: float) -> int | None:
    limit = _STEP_LIMIT if named.sequence.n <= 256 else 500
    return rounds_to_consensus(named.sequence, tolerance, limit=limit)
