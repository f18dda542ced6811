"""The network of a run: its graph, its mixing matrices, and where to draw its nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gossipfl.errors import GossipflError
from sims.analysis.runs.problem import Problem
from sims.analysis.runs.run import Run
from sims.scenario import Scenario
from sims.world.networks import neighbour_lists, round_network
from topology.catalogue import build
from topology.drawing.layouts import circle
from topology.errors import TopologyError
from topology.graphs import Topology, complete, from_edges
from topology.sequences import MixingSequence

__all__ = ["Network", "edges_of", "network_of", "positions_of"]

_COMPLETE_NODES = 4096
_LAID_OUT_NODES = 400
_CIRCULAR = frozenset({"complete", "ring", "path", "exponential", "small-world"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """The network of a run.

    Parameters
    ----------
    name : str
    n : int
    graph : Topology, optional
        The graph that messages travel over; None where it changes from round to round, or is too large to write
        down.
    sequence : MixingSequence, optional
        Of algorithms that run in rounds.
    """

    name: str
    n: int
    graph: Topology | None
    sequence: MixingSequence | None


def network_of(run: Run, problem: Problem | None = None) -> Network | None:
    """The network of a run; None where nothing records what it was.

    Parameters
    ----------
    run : Run
    problem : Problem, optional
        Provides the classes of all samples, for topologies that are built from them.
    """
    scenario = run.scenario
    if run.topology:
        named = build(run.topology, implied={"n": len(run.labels)})
        return Network(name=run.topology, n=named.sequence.n, graph=None, sequence=named.sequence)
    return None if scenario is None else _of_scenario(run, scenario, problem)


def _of_scenario(run: Run, scenario: Scenario, problem: Problem | None) -> Network | None:
    n, name = scenario.population.nodes, scenario.topology.name
    if run.edges is not None:
        graph = from_edges(run.edges, n, require_connected=False)
        return Network(name="who talked to whom", n=n, graph=graph, sequence=None)
    counts = None if problem is None else problem.class_counts
    try:
        if scenario.algorithm.in_rounds:
            sequence = round_network(scenario, class_counts=counts).sequence
            return Network(name=name, n=n, graph=None, sequence=sequence)
        indptr, indices = neighbour_lists(scenario, class_counts=counts)
    except (GossipflError, TopologyError):
        return None  # its file is gone, say; the run itself is intact
    if not len(indptr):
        whole = complete(n) if n <= _COMPLETE_NODES else None
        return Network(name=name, n=n, graph=whole, sequence=None)
    return Network(name=name, n=n, graph=Topology(name=name, indptr=indptr, indices=indices), sequence=None)


def edges_of(network: Network, round_number: int = 0) -> NDArray[np.int64]:
    """Links as pairs of nodes, each once, smaller number first: int64 ``[E, 2]``."""
    if network.graph is not None:
        starts = np.repeat(np.arange(network.n), np.diff(network.graph.indptr))
        ends = np.asarray(network.graph.indices, dtype=np.int64)
    elif network.sequence is not None:
        matrix = network.sequence.matrix(round_number).tocoo()
        kept = matrix.data != 0
        starts, ends = matrix.row[kept].astype(np.int64), matrix.col[kept].astype(np.int64)
    else:
        return np.zeros((0, 2), dtype=np.int64)
    pairs = np.sort(np.stack([starts, ends], axis=1), axis=1)
    found: NDArray[np.int64] = np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)
    return found


def positions_of(network: Network) -> NDArray[np.float64]:
    """Positions of the nodes in a drawing: float64 ``[n, 2]``, about within the unit circle.

    At the graph's own positions, if it has any; on a circle, if links change or that shows the graph best; else by
    distances (Kamada & Kawai 1989).
    """
    graph = network.graph
    if graph is not None and graph.positions is not None and graph.positions.shape[1] >= 2:
        given = np.asarray(graph.positions[:, :2], dtype=np.float64)
        given = given - (given.max(axis=0) + given.min(axis=0)) / 2
        fitted: NDArray[np.float64] = given / max(float(np.abs(given).max()), 1e-12)
        return fitted
    static = network.sequence is None or network.sequence.period == 1
    if not static or network.name in _CIRCULAR or network.n > _LAID_OUT_NODES:
        return circle(network.n)
    import networkx as nx

    plain = nx.Graph()
    plain.add_nodes_from(range(network.n))
    plain.add_edges_from(edges_of(network).tolist())
    if plain.number_of_edges() > 20 * network.n or not nx.is_connected(plain):
        return circle(network.n)
    found = nx.kamada_kawai_layout(plain, pos=dict(enumerate(circle(network.n))))
    return np.array([found[node] for node in range(network.n)], dtype=np.float64)
