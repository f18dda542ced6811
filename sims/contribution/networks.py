"""The networks of coalitions: who talks to whom when only some of the participants take part."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import block_diag, csr_array
from scipy.sparse.csgraph import shortest_path

from sims.errors import NotSimulable
from sims.scenario import Scenario
from sims.scenario.scenario import PopulationSection
from sims.world.networks import ClassCounts, NeighbourLists, RoundNetwork, graph_of, mixing_of, round_network
from topology import graphs
from topology.graphs import Topology
from topology.graphs.assemble import subgraph
from topology.mixing.checks import Stochastic
from topology.sequences.sequence import RuleSequence

__all__ = ["CoalitionNetworks", "joined_graph"]

Ints = NDArray[np.int64]
Members: TypeAlias = tuple[int, ...]


def joined_graph(graph: Topology, members: Ints) -> Topology:
    """The graph on some of its nodes, with links added where these fall apart.

    Of an undirected graph, the part with the smallest node takes in the other parts one after another: always the
    one that was nearest in the whole graph, over the shortest way between two members, of equals that with the
    smallest nodes. Those two get a link.

    Parameters
    ----------
    graph : Topology
    members : ndarray
        Nodes that stay, int64 in increasing order.

    Raises
    ------
    NotSimulable
        If links have a direction and the members fall apart: which way to add links would be a guess.
    """
    kept = subgraph(graph, members, name=f"{len(members)} of {graph.name}")
    parts, part = kept.components
    if parts == 1:
        return kept
    if graph.directed:
        raise NotSimulable(
            f"{graph.name} falls apart without some of its nodes, and its links have a direction",
            remedy="Choose a topology whose links go both ways.",
        )
    away = shortest_path(graph.adjacency, unweighted=True, indices=members)[:, members]
    away[~np.isfinite(away)] = graph.n
    inside, added = part == part[0], []
    while not inside.all():
        rows, columns = np.flatnonzero(inside), np.flatnonzero(~inside)
        between = away[np.ix_(rows, columns)]
        place = int(between.argmin())
        a, b = rows[place // len(columns)], columns[place % len(columns)]
        added.append((int(a), int(b)))
        inside |= part == part[b]
    edges = np.concatenate([kept.edges().astype(np.int64), np.array(added, dtype=np.int64)])
    found = graphs.from_edges(edges, len(members), name=kept.name)
    return replace(found, groups=kept.groups)


class CoalitionNetworks:
    """The networks of a scenario's coalitions, side by side as one.

    A graph is restricted to the members (`joined_graph`), and its mixing weights follow from what is left. The
    complete graph, a sequence of rounds, and an algorithm that brings its own network are made anew for as many
    nodes, with the members in increasing order.

    Parameters
    ----------
    scenario : Scenario
    class_counts : callable
        As for `sims.world.networks.round_network`.

    Raises
    ------
    InvalidScenario, NotSimulable
        If the network cannot be made.
    """

    def __init__(self, scenario: Scenario, *, class_counts: ClassCounts) -> None:
        section = scenario.algorithm
        if section.in_rounds and section.of_rounds().requirements.server:
            raise NotSimulable(
                f"{section.name!r} has a server that everybody shares, so coalitions cannot be side by side",
                remedy="Choose an algorithm among neighbours, such as d_psgd.",
            )
        self._scenario = scenario
        self.graph = graph_of(scenario, class_counts=class_counts)
        self._of_size = cache(self._made_anew)
        self._of_members = cache(self._restricted)

    def rounds(self, coalitions: list[Members]) -> RoundNetwork:
        """Mixing of coalitions of two or more members, one after another along the diagonal."""
        networks = [self._round_network(members) for members in coalitions]
        sequences = [network.sequence for network in networks]
        static = all(sequence.period == 1 for sequence in sequences)

        def make(t: int) -> csr_array:
            return csr_array(block_diag([sequence.matrix(t) for sequence in sequences], format="csr"))

        sequence = RuleSequence(
            name=f"{len(coalitions)} coalitions",
            n=sum(map(len, coalitions)),
            period=1 if static else None,
            degree=max(each.degree for each in sequences),
            stochastic=_common([each.stochastic for each in sequences]),
            symmetric=all(each.symmetric for each in sequences),
            make=make,
        )
        return RoundNetwork(sequence, _cliques(networks))

    def neighbours(self, coalitions: list[Members]) -> NeighbourLists:
        """Neighbours of every member, as compressed sparse rows, one coalition after another."""
        found, start, indptr, indices = [self._graph_of(members) for members in coalitions], 0, [[0]], []
        edges = 0
        for graph in found:
            indptr.append((graph.indptr[1:] + edges).tolist())
            indices.append(graph.indices.astype(np.int64) + start)
            start, edges = start + graph.n, edges + len(graph.indices)
        return (
            np.concatenate([np.asarray(part, dtype=np.int64) for part in indptr]),
            np.concatenate(indices).astype(np.int32),
        )

    def _graph_of(self, members: Members) -> Topology:
        return graphs.complete(len(members)) if self.graph is None else self._of_members(members)

    def _round_network(self, members: Members) -> RoundNetwork:
        if self.graph is None:
            return self._of_size(len(members))
        return mixing_of(self._scenario, self._of_members(members))

    def _restricted(self, members: Members) -> Topology:
        if self.graph is None:
            raise AssertionError("there is a graph to restrict")
        return joined_graph(self.graph, np.array(members, dtype=np.int64))

    def _made_anew(self, nodes: int) -> RoundNetwork:
        smaller = self._scenario.model_copy(update={"population": PopulationSection(nodes=nodes)})
        return round_network(smaller)


def _common(kinds: list[Stochastic]) -> Stochastic:
    return kinds[0] if len(set(kinds)) == 1 else "rows"


def _cliques(networks: list[RoundNetwork]) -> Ints | None:
    """Cliques of all coalitions, numbered apart."""
    parts, first = [], 0
    for network in networks:
        if network.cliques is None:
            return None
        parts.append(network.cliques + first)
        first = int(parts[-1].max()) + 1
    return np.concatenate(parts)
