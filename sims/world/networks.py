"""Networks of scenarios: the graph, or the mixing matrix of every round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, identity

from sims.errors import InvalidScenario, NotSimulable
from sims.scenario import Scenario
from topology import graphs, mixing, sequences
from topology.catalogue import FAMILIES, Expression, NamedTopology, build
from topology.errors import TopologyError
from topology.graphs import Topology
from topology.sequences import MixingSequence
from topology.sequences.sequence import RuleSequence

__all__ = [
    "ClassCounts",
    "NeighbourLists",
    "RoundNetwork",
    "graph_of",
    "mixing_of",
    "neighbour_lists",
    "round_network",
]

ClassCounts = Callable[[], NDArray[np.int64]]
NeighbourLists = tuple[NDArray[np.int64], NDArray[np.int32]]
"""Neighbours of every node as compressed sparse rows; both empty for the complete graph."""


@dataclass(frozen=True, slots=True)
class RoundNetwork:
    """The mixing of a scenario that runs in rounds.

    Parameters
    ----------
    sequence : MixingSequence
        One mixing matrix a round.
    cliques : ndarray, optional
        The clique of each node, int64 ``[N]``.
    complete : bool
        Whether every matrix is J, so that it need not be made to be multiplied with: it has N² entries.
    """

    sequence: MixingSequence
    cliques: NDArray[np.int64] | None = None
    complete: bool = False


def graph_of(scenario: Scenario, *, class_counts: ClassCounts | None = None) -> Topology | None:
    """Return the graph of a scenario; None where it is complete, a sequence, or the algorithm's own.

    Raises
    ------
    InvalidScenario
        If the topology is unknown, impossible, or has another number of nodes.
    """
    section = scenario.algorithm
    if section.in_rounds:
        algorithm = section.of_rounds()
        if algorithm.requirements.server or algorithm.sequence(2, seed=scenario.seed) is not None:
            return None
    read = scenario.read_topology(labels=class_counts)
    if _is_complete(scenario, read) or read.family.is_sequence:
        return None
    return _built(scenario, read).graph


def neighbour_lists(scenario: Scenario, *, class_counts: ClassCounts | None = None) -> NeighbourLists:
    """Neighbours of every node as compressed sparse rows; both empty for the complete graph.

    Raises
    ------
    InvalidScenario
        If the topology is unknown, impossible, or has another number of nodes.
    NotSimulable
        If it changes from round to round: nodes that send on their own schedule have no rounds.
    """
    read = scenario.read_topology(labels=class_counts)
    if _is_complete(scenario, read):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
    graph = None if read.family.is_sequence else _built(scenario, read).graph
    if graph is None:
        raise NotSimulable(
            f"topology {scenario.topology.name!r} is a sequence of rounds, and {scenario.algorithm.name!r} is "
            "message-driven",
            expected=f"a graph: {', '.join(family.name for family in FAMILIES if not family.is_sequence)}",
            remedy="Choose a graph, or a round-based algorithm such as 'd_psgd'.",
        )
    if read.weights is not None:
        raise InvalidScenario(
            f"topology.weights: {scenario.algorithm.name!r} is message-driven, and its links have no weights",
            remedy="Leave weights out.",
        )
    return graph.indptr.astype(np.int64), graph.indices.astype(np.int32)


def round_network(scenario: Scenario, *, class_counts: ClassCounts | None = None) -> RoundNetwork:
    """Return the mixing of a round-based scenario.

    Where the algorithm needs columns that sum to one and the topology has others, every node splits what it has
    equally over itself and those it sends to.

    Parameters
    ----------
    scenario : Scenario
    class_counts : callable, optional
        Gives how many samples of each class each node has, int64 ``[N, classes]``, for topologies that are built
        from that.

    Raises
    ------
    InvalidScenario
        If the topology is unknown, impossible, or has another number of nodes.
    NotSimulable
        If the algorithm does not run in rounds.
    """
    section, n = scenario.algorithm, scenario.population.nodes
    if not section.in_rounds:
        raise NotSimulable(
            f"{section.name!r} is message-driven and mixes in no rounds",
            remedy="Choose a round-based algorithm such as 'd_psgd'.",
        )
    algorithm = section.of_rounds()
    requirements = algorithm.requirements
    try:
        own = algorithm.sequence(n, seed=scenario.seed)
    except TopologyError as error:
        raise InvalidScenario(f"algorithm {section.name!r} cannot mix: {error}") from error
    if own is not None or requirements.server:
        _refuse_topology(scenario)
        nobody = sequences.static(csr_array(identity(n)), name="a server")
        return RoundNetwork(nobody if own is None else own)
    read = scenario.read_topology(labels=class_counts)
    if _is_complete(scenario, read):
        return RoundNetwork(_everyone(n), complete=True)
    return _mixing(scenario, _built(scenario, read))


def mixing_of(scenario: Scenario, graph: Topology) -> RoundNetwork:
    """Return the mixing over a graph other than the scenario's own, say a part of it, with its weights.

    Raises
    ------
    InvalidScenario
        If these weights are not defined on it.
    """
    return _mixing(scenario, NamedTopology(expression=scenario.read_topology(), made=graph))


def _mixing(scenario: Scenario, named: NamedTopology) -> RoundNetwork:
    section = scenario.algorithm
    try:
        sequence = named.mixing(section.weights)
    except TopologyError as error:
        raise InvalidScenario(f"topology {scenario.topology.name!r} cannot mix: {error}") from error
    if section.of_rounds().requirements.stochastic == "columns" and sequence.stochastic == "rows":
        sequence = sequences.pushed(sequence)
    groups = None if named.graph is None else named.graph.groups
    return RoundNetwork(sequence, None if groups is None else groups.astype(np.int64))


def _everyone(n: int) -> MixingSequence:
    """W = J, which all weighting rules give on the complete graph; the matrix is built on request."""

    def mean(_: int) -> csr_array:
        return mixing.uniform(graphs.complete(n))

    name = f"complete({n})"
    return RuleSequence(name=name, n=n, period=1, degree=n - 1, symmetric=True, make=mean)


def _refuse_topology(scenario: Scenario) -> None:
    if scenario.topology != type(scenario.topology)():
        raise InvalidScenario(
            f"topology: {scenario.algorithm.name!r} brings its own network, so "
            f"{scenario.topology.name!r} would be without effect",
            remedy="Leave the [topology] table out.",
        )


def _built(scenario: Scenario, read: Expression) -> NamedTopology:
    try:
        named = build(read)
    except (TopologyError, OSError) as error:
        raise InvalidScenario(f"topology: {scenario.topology.name} cannot be made: {error}") from error
    _check_size(scenario, named.n)
    return named


def _is_complete(scenario: Scenario, read: Expression) -> bool:
    """Whether everybody hears from everybody at equal weights: a graph of N² links that need not be built."""
    if read.family.name != "complete" or read.weights is not None:
        return False
    _check_size(scenario, read.values["n"])
    return True


def _check_size(scenario: Scenario, n: int) -> None:
    if n != scenario.population.nodes:
        raise InvalidScenario(
            f"topology {scenario.topology.name!r} has another number of nodes than the population",
            expected=f"population.nodes = {scenario.population.nodes}",
            got=n,
            remedy=f"Set population.nodes = {n}, or change the topology.",
        )
