"""From the topology section of a scenario to the graph or the mixing sequence it names."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sims.errors import InvalidScenario, NotSimulable
from sims.scenario import Scenario
from sims.scenario.scenario import DPSGDSection
from topology import graphs, mixing, sequences
from topology.errors import TopologyError
from topology.graphs import Topology
from topology.sequences import MixingSequence

__all__ = ["neighbour_lists", "sequence_of"]

Builder = Callable[..., Any]
_NOT_GRAPHS = {"Topology", "largest_component"}
_NOT_SEQUENCES = {
    "MixingSequence",
    "activation_probabilities",
    "matching_decomposition",
    "static",
    "shuffled",
}


def neighbour_lists(scenario: Scenario) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
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
    graph = _graph(scenario)
    return graph.indptr.astype(np.int64), graph.indices.astype(np.int32)


def sequence_of(scenario: Scenario) -> MixingSequence:
    """Mixing matrices of a round-based scenario, one a round.

    Raises
    ------
    InvalidScenario
        If the topology is unknown, impossible, or has another number of nodes.
    """
    builder = _sequence_builders().get(scenario.topology.name)
    if builder is None:
        graph = _graph(scenario)
        weights = scenario.algorithm.weights if isinstance(scenario.algorithm, DPSGDSection) else None
        weighting: Builder = getattr(mixing, weights or "metropolis_hastings")
        found: MixingSequence = _called(
            scenario, sequences.static, {"W": _called(scenario, weighting, {"topology": graph})}
        )
    else:
        found = _called(scenario, builder, _arguments(scenario, builder))
    _check_size(scenario, found.n)
    return found


def _graph_builders() -> dict[str, Builder]:
    return {name: getattr(graphs, name) for name in graphs.__all__ if name not in _NOT_GRAPHS}


def _sequence_builders() -> dict[str, Builder]:
    return {name: getattr(sequences, name) for name in sequences.__all__ if name not in _NOT_SEQUENCES}


def _graph(scenario: Scenario) -> Topology:
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
    graph: Topology = _called(scenario, builders[name], _arguments(scenario, builders[name]))
    _check_size(scenario, graph.n)
    return graph


def _arguments(scenario: Scenario, builder: Builder) -> dict[str, Any]:
    """Arguments as written, with the number of nodes and the seed of the scenario where they are wanted."""
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
    implied = {"n": scenario.population.nodes, "seed": scenario.seed}
    arguments = {**{key: value for key, value in implied.items() if key in known}, **given}
    missing = [
        key
        for key, parameter in known.items()
        if parameter.default is parameter.empty and key not in arguments
    ]
    if missing:
        raise InvalidScenario(
            f"topology: {scenario.topology.name!r} needs {', '.join(missing)}",
            remedy=f"Add `{missing[0]} = …` to the [topology] table.",
        )
    return arguments


def _called(scenario: Scenario, builder: Builder, arguments: dict[str, Any]) -> Any:
    try:
        return (
            builder(*arguments.values())
            if "topology" in arguments or "W" in arguments
            else builder(**arguments)
        )
    except (TopologyError, TypeError) as error:
        raise InvalidScenario(f"topology {scenario.topology.name!r} cannot be made: {error}") from error


def _check_size(scenario: Scenario, n: int) -> None:
    if n != scenario.population.nodes:
        raise InvalidScenario(
            f"topology {scenario.topology.name!r} has another number of nodes than the population",
            expected=f"population.nodes = {scenario.population.nodes}",
            came=n,
            remedy=f"Set population.nodes = {n}, or change the topology.",
        )
