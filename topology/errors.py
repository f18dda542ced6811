"""Errors of the topology library, one small tree named after meanings.

Each says what was expected, what was given, and how to fix it. All are `ValueError` too where an argument is
at fault, so that callers who do not know this tree still catch them.
"""

from __future__ import annotations

from typing import Self

__all__ = [
    "DirectedGraph",
    "Disconnected",
    "Diverges",
    "DuplicateEdge",
    "ExplainedError",
    "ImpossibleDegree",
    "InvalidGraph",
    "InvalidParameter",
    "MalformedExpression",
    "MalformedGraphFile",
    "MislabelledNodes",
    "MissingExtra",
    "NotMixingMatrix",
    "SelfLoop",
    "SolverFailed",
    "TooLarge",
    "TopologyError",
    "UnknownNetwork",
    "UnknownNode",
    "UnknownTopology",
]


class ExplainedError(Exception):
    """An error that says what was expected, what was found and what to do.

    Parameters
    ----------
    what : str
        What went wrong, as a sentence without a full stop.
    expected, got : object, optional
        The expected value, and the one found instead.
    remedy : str, optional
        What the reader can do about it, as a sentence without a full stop.
    """

    def __init__(
        self, what: str, *, expected: object = None, got: object = None, remedy: str | None = None
    ) -> None:
        self.what = what
        self.expected = expected
        self.got = got
        self.remedy = remedy
        parts = [what]
        if expected is not None:
            parts.append(f"expected {expected}")
        if got is not None:
            parts.append(f"got {got}")
        message = "; ".join(parts)
        super().__init__(f"{message}. {remedy}" if remedy else message)

    def at(self, place: str) -> Self:
        """Return the same error with the place of the mistake, a key or a file, before it."""
        return type(self)(f"{place}: {self.what}", expected=self.expected, got=self.got, remedy=self.remedy)


class TopologyError(ExplainedError):
    """The root of all errors topology raises on purpose."""


# An argument is wrong


class InvalidParameter(TopologyError, ValueError):
    """A parameter is outside the range in which the construction is defined."""


class ImpossibleDegree(InvalidParameter):
    """No simple graph has this degree on this many nodes (too high, or an odd sum of degrees)."""


class UnknownNode(InvalidParameter):
    """A node is named that the topology does not have."""


class TooLarge(InvalidParameter):
    """The result would not fit the memory or the index type; nothing was allocated."""


class MalformedExpression(InvalidParameter):
    """The expression that should name a topology, such as ``torus:8x8``, cannot be read.

    Attributes
    ----------
    key : str or None
        The key at fault, as written, where the topology is a table.
    """

    key: str | None = None


class UnknownTopology(InvalidParameter):
    """No family of topologies has this name."""


# The graph is not one that peers could gossip on


class InvalidGraph(TopologyError, ValueError):
    """The graph as given cannot carry gossip."""


class Disconnected(InvalidGraph):
    """Some node cannot reach some other, so no amount of gossip brings all to one model."""


class SelfLoop(InvalidGraph):
    """A node is its own neighbour; a node's own weight belongs to the mixing matrix, not to the graph."""


class DuplicateEdge(InvalidGraph):
    """An edge appears twice."""


class MislabelledNodes(InvalidGraph):
    """The labels of nodes are missing, repeated, or of the wrong number."""


class DirectedGraph(InvalidGraph):
    """The construction is defined on undirected graphs only."""


class MalformedGraphFile(InvalidGraph):
    """The file holds no graph in the format it claims."""


class UnknownNetwork(TopologyError, LookupError):
    """No network of this name is in the collection."""


# A matrix is not what it should be


class NotMixingMatrix(TopologyError, ValueError):
    """A matrix breaks an invariant of mixing: stochastic, symmetric, or supported on the graph."""


# Something outside is missing or failed


class MissingExtra(TopologyError, ImportError):
    """An optional dependency is not installed."""


class Diverges(TopologyError, ArithmeticError):
    """The iteration has no fixed point it converges to."""


class SolverFailed(TopologyError, RuntimeError):
    """A numerical method did not converge."""
