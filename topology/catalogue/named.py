"""Topologies made from expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from topology import mixing
from topology.catalogue.expression import Expression, parse
from topology.errors import InvalidParameter, TopologyError
from topology.graphs import Topology, from_networkx
from topology.sequences import MixingSequence, in_turn, static
from topology.sequences.shuffled import shuffled, shuffled_graph

__all__ = ["NamedTopology", "build"]


@dataclass(frozen=True, kw_only=True)
class NamedTopology:
    """A topology made from an expression.

    Attributes
    ----------
    expression : Expression
    made : Topology or MixingSequence
        The result of its family's function.
    """

    expression: Expression
    made: Topology | MixingSequence

    @property
    def name(self) -> str:
        """The expression it was made from."""
        return self.expression.text

    @property
    def n(self) -> int:
        """Number of nodes."""
        return self.made.n

    @property
    def graph(self) -> Topology | None:
        """The graph, if it is one that does not change."""
        return self.made if isinstance(self.made, Topology) else None

    @cached_property
    def sequence(self) -> MixingSequence:
        """Its mixing matrices, round by round; of a graph the same in every round.

        A graph mixes with Metropolis–Hastings weights, or uniform ones if its links have a direction, unless
        the expression says otherwise.
        """
        if self.graph is not None and self.expression.values.get("require_connected", True):
            self.graph.require_connected()
        return self.mixing(None)

    def mixing(self, weights: str | None) -> MixingSequence:
        """Return its mixing matrices; links of a graph weigh as the expression says, or else by `weights`.

        Parameters
        ----------
        weights : str or None
            One of `topology.catalogue.WEIGHTINGS`.

        Raises
        ------
        TopologyError
            If these weights are not defined on this graph.
        """
        if not isinstance(self.made, Topology):
            return self.made
        usual = "uniform" if self.made.directed else "metropolis-hastings"
        W = _weighted(self.made, self.expression.weights or weights or usual)
        return static(W, name=self.name)


def build(
    expression: str | Expression,
    *,
    implied: Mapping[str, Any | Callable[[], Any]] | None = None,
    directory: Path | None = None,
) -> NamedTopology:
    """Make the topology that `expression` names.

    Parameters
    ----------
    expression : str or Expression
    implied, directory
        As in `topology.catalogue.parse`.

    Raises
    ------
    UnknownTopology, MalformedExpression
        If the expression cannot be read.
    TopologyError
        If no such topology exists, according to the function that builds it.
    """
    read = (
        parse(expression, implied=implied, directory=directory) if isinstance(expression, str) else expression
    )
    return NamedTopology(expression=read, made=_make(read))


def _make(read: Expression) -> Topology | MixingSequence:
    values = {
        name: _make_graph(value) if isinstance(value, Expression) else value
        for name, value in read.values.items()
    }
    maker = read.family.load()
    try:
        made = _adopted(maker(**values), read.text)
    except (TopologyError, ImportError, OSError, MemoryError):
        raise
    except Exception as error:
        raise InvalidParameter(f"{read.text} failed", got=f"{type(error).__name__}: {error}") from error
    if read.shuffled is None:
        return made
    if isinstance(made, Topology):
        return shuffled_graph(made, read.shuffled)
    return shuffled(made, read.shuffled)


def _make_graph(read: Expression) -> Topology:
    if not read.family.is_sequence and isinstance(made := _make(read), Topology):
        return made
    raise InvalidParameter(
        f"{read.text} changes from round to round", expected="a graph", remedy="Name a graph here"
    )


def _weighted(graph: Topology, weights: str) -> csr_array:
    lazy = weights == "lazy"
    rule = "metropolis_hastings" if lazy else weights.replace("-", "_")
    W: csr_array = getattr(mixing, rule)(graph)
    return mixing.lazy(W) if lazy else W


def _adopted(made: Any, name: str) -> Topology | MixingSequence:  # noqa: ANN401 - whatever a function returns
    """What a function returned, as a graph or a mixing sequence: a networkx graph, a matrix [n, n], or several."""
    if isinstance(made, (Topology, MixingSequence)):
        return made
    import networkx as nx

    if isinstance(made, nx.Graph):
        return from_networkx(made, name=name)
    several = isinstance(made, (list, tuple)) and all(issparse(W) or isinstance(W, np.ndarray) for W in made)
    if several or (isinstance(made, np.ndarray) and made.ndim == 3):
        return in_turn(list(made), name=name)
    if issparse(made) or isinstance(made, np.ndarray):
        return static(made, name=name)
    raise InvalidParameter(
        f"{name} returned no topology",
        expected="a networkx graph, a Topology, a MixingSequence, a mixing matrix or a list of them",
        got=type(made).__name__,
    )
