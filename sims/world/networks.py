"""From the topology section of a scenario to the graph or the mixing sequence it names."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, identity

from sims.errors import InvalidScenario, NotSimulable
from sims.scenario import Scenario
from sims.scenario.round_based import RoundSection
from topology import graphs, mixing, sequences
from topology.errors import TopologyError
from topology.graphs import Topology
from topology.sequences import MixingSequence
from topology.sequences.sequence import RuleSequence

__all__ = ["ClassCounts", "RoundNetwork", "neighbour_lists", "round_network", "sequence_of"]

Builder = Callable[..., Any]
ClassCounts = Callable[[], NDArray[np.int64]]
_NOT_GRAPHS = {
    "Topology",
    "clique_skew",
    "from_edges",
    "from_networkx",
    "from_node_link",
    "internet_names",
    "largest_component",
}
_NOT_SEQUENCES = {
    "MixingSequence",
    "activation_probabilities",
    "matching_decomposition",
    "static",
    "pushed",
    "shuffled",
}


@dataclass(frozen=True, slots=True)
class RoundNetwork:
    """Who mixes with whom in rounds.

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


def neighbour_lists(
    scenario: Scenario, *, class_counts: ClassCounts | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Neighbours of every node as compressed sparse rows; both empty for the complete graph.

    Raises
    ------
    InvalidScenario
        If the topology is unknown, impossible, or has another number of nodes.
    NotSimulable
        If it changes from round to round: peers that send at their own times know no rounds.
    """
    if scenario.topology.name == "complete" and not scenario.topology.arguments:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
    if scenario.topology.name in _sequence_builders():
        raise NotSimulable(
            f"topology {scenario.topology.name!r} is a sequence of rounds, and {scenario.algorithm.name!r} is "
            "message-driven",
            expected=f"a graph: {', '.join(sorted(_graph_builders()))}",
            remedy="Choose a graph, or a round-based algorithm such as 'd_psgd'.",
        )
    graph = _graph(scenario, class_counts)
    return graph.indptr.astype(np.int64), graph.indices.astype(np.int32)


def sequence_of(scenario: Scenario) -> MixingSequence:
    """Mixing matrices of a round-based scenario, one a round; see `round_network`."""
    return round_network(scenario).sequence


def round_network(scenario: Scenario, *, class_counts: ClassCounts | None = None) -> RoundNetwork:
    """Who mixes with whom in a round-based scenario.

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
    algorithm, n = scenario.algorithm, scenario.population.nodes
    if not isinstance(algorithm, RoundSection):
        raise NotSimulable(
            f"{algorithm.name!r} is message-driven and mixes in no rounds",
            remedy="Choose a round-based algorithm such as 'd_psgd'.",
        )
    requirements = algorithm.build().requirements
    try:
        own = algorithm.sequence(n, seed=scenario.seed)
    except TopologyError as error:
        raise InvalidScenario(f"algorithm {algorithm.name!r} cannot mix: {error}") from error
    if own is not None or requirements.server:
        _refuse_topology(scenario)
        nobody = sequences.static(csr_array(identity(n)), name="a server")
        return RoundNetwork(nobody if own is None else own)
    if scenario.topology.name == "complete" and not scenario.topology.arguments:
        return RoundNetwork(_everyone(n), complete=True)
    builder = _sequence_builders().get(scenario.topology.name)
    if builder is None:
        graph = _graph(scenario, class_counts)
        weights = algorithm.weights or ("uniform" if graph.directed else "metropolis_hastings")
        W = _called(scenario, getattr(mixing, weights), graph)
        cliques = None if graph.groups is None else graph.groups.astype(np.int64)
        network = RoundNetwork(_called(scenario, sequences.static, W, name=graph.name), cliques)
    else:
        found: MixingSequence = _called(scenario, builder, **_arguments(scenario, builder, class_counts))
        _check_size(scenario, found.n)
        network = RoundNetwork(found)
    if requirements.stochastic == "columns" and network.sequence.stochastic == "rows":
        return RoundNetwork(sequences.pushed(network.sequence), network.cliques)
    return network


def _everyone(n: int) -> MixingSequence:
    """W = J, which all rules for weights give on the complete graph; the matrix is made when it is asked for."""

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


def _graph_builders() -> dict[str, Builder]:
    return {name: getattr(graphs, name) for name in graphs.__all__ if name not in _NOT_GRAPHS}


def _sequence_builders() -> dict[str, Builder]:
    return {name: getattr(sequences, name) for name in sequences.__all__ if name not in _NOT_SEQUENCES}


def _graph(scenario: Scenario, class_counts: ClassCounts | None) -> Topology:
    name = scenario.topology.name
    builders = _graph_builders()
    if name not in builders:
        known = sorted({*builders, *_sequence_builders()})
        close = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
        raise InvalidScenario(
            f"topology.name: there is no topology {name!r}",
            expected=f"one of {', '.join(known)}",
            remedy=f"Did you mean {close[0]!r}?" if close else None,
        )
    graph: Topology = _called(scenario, builders[name], **_arguments(scenario, builders[name], class_counts))
    _check_size(scenario, graph.n)
    return graph


def _arguments(scenario: Scenario, builder: Builder, class_counts: ClassCounts | None) -> dict[str, Any]:
    """Arguments as written, with the scenario's number of nodes, seed and classes where they are wanted."""
    given = scenario.topology.arguments
    known = inspect.signature(builder).parameters
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            raise InvalidScenario(
                f"topology.{key}: {scenario.topology.name!r} takes no {key!r}",
                expected=f"{', '.join(known) or 'no arguments'}",
                remedy=f"Did you mean {close[0]!r}?" if close else None,
            )
    implied: dict[str, Any] = {"n": scenario.population.nodes, "seed": scenario.seed}
    if "labels" in known and "labels" not in given and class_counts is not None:
        implied["labels"] = class_counts()
    arguments = {**{key: value for key, value in implied.items() if key in known}, **given}
    missing = [
        key
        for key, parameter in known.items()
        if parameter.default is parameter.empty and key not in arguments
    ]
    if missing:
        raise InvalidScenario(
            f"topology: {scenario.topology.name!r} needs {', '.join(missing)}",
            remedy=f"Add {' and '.join(f'`{key} = …`' for key in missing)} to the [topology] table.",
        )
    return arguments


def _called(scenario: Scenario, builder: Builder, *values: Any, **arguments: Any) -> Any:
    try:
        return builder(*values, **arguments)
    except (TopologyError, TypeError) as error:
        raise InvalidScenario(f"topology {scenario.topology.name!r} cannot be made: {error}") from error


def _check_size(scenario: Scenario, n: int) -> None:
    if n != scenario.population.nodes:
        raise InvalidScenario(
            f"topology {scenario.topology.name!r} has another number of nodes than the population",
            expected=f"population.nodes = {scenario.population.nodes}",
            got=n,
            remedy=f"Set population.nodes = {n}, or change the topology.",
        )
