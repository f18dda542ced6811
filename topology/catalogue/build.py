"""From an expression to the graph and the mixing sequence it names."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from topology.catalogue.expression import Expression, parse
from topology.errors import InvalidParameter

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from topology.graphs import Topology
    from topology.sequences import MixingSequence

__all__ = ["NamedTopology", "build"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTopology:
    """A topology made from an expression.

    Attributes
    ----------
    expression : Expression
    graph : Topology or None
        The graph, if it is one that does not change.
    sequence : MixingSequence
        Its mixing matrices, round by round; of a graph the same in every round.
    """

    expression: Expression
    graph: Topology | None
    sequence: MixingSequence

    @property
    def name(self) -> str:
        """The expression it was made from."""
        return self.expression.text


def build(expression: str | Expression) -> NamedTopology:
    """Make the topology that `expression` names.

    A graph mixes with Metropolis–Hastings weights, or uniform ones if its links have a direction, unless the
    expression says otherwise.

    Raises
    ------
    UnknownTopology, MalformedExpression
        If the expression cannot be read.
    TopologyError
        If no such topology exists, as the function that makes it says.
    """
    read = parse(expression) if isinstance(expression, str) else expression
    graph = None if read.family.is_sequence else make_graph(read)
    sequence = _make_sequence(read) if graph is None else _static(read, graph)
    if read.shuffled is not None:
        sequences = import_module("topology.sequences")
        sequence = sequences.shuffled(sequence, read.shuffled)
    return NamedTopology(expression=read, graph=graph, sequence=sequence)


def make_graph(read: Expression) -> Topology:
    """Make the graph that `read` names.

    Raises
    ------
    InvalidParameter
        If it names a sequence.
    """
    if read.family.is_sequence:
        raise InvalidParameter(
            f"{read.text} changes from round to round", expected="a graph", remedy="Name a graph here"
        )
    graph: Topology = _builder(read)(**read.values)
    return graph


def _make_sequence(read: Expression) -> MixingSequence:
    values = {
        name: make_graph(value) if isinstance(value, Expression) else value
        for name, value in read.values.items()
    }
    sequence: MixingSequence = _builder(read)(**values)
    return sequence


def _builder(read: Expression):  # type: ignore[no-untyped-def]  # noqa: ANN202 - any of the library's makers
    module, _, function = read.family.builder.partition(":")
    return getattr(import_module(module), function)


def _static(read: Expression, graph: Topology) -> MixingSequence:
    sequences = import_module("topology.sequences")
    sequence: MixingSequence = sequences.static(_weighted(read, graph), name=read.text)
    return sequence


def _weighted(read: Expression, graph: Topology) -> csr_array:
    mixing = import_module("topology.mixing")
    graph.require_connected()
    match read.weights or ("uniform" if graph.directed else "metropolis-hastings"):
        case "metropolis-hastings":
            W = mixing.metropolis_hastings(graph)
        case "max-degree":
            W = mixing.max_degree(graph)
        case "uniform":
            W = mixing.uniform(graph)
        case "lazy":
            W = mixing.lazy(mixing.metropolis_hastings(graph))
        case _:
            W = mixing.fastest(graph)
    return W
