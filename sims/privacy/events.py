"""Linear runs written event by event, for nodes that send on their own schedule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sims.privacy.linear_run import LinearRun, Stage

__all__ = ["EventRun"]

Row = dict[int, float]

_EVENTS_PER_NODE = 1


class EventRun:
    """Events of a run in their order, gathered into stages.

    Every node starts from zero. Messages in flight are part of the state.

    Parameters
    ----------
    nodes : int

    Examples
    --------
    >>> run = EventRun(2)
    >>> for node in (0, 1):
    ...     run.enter(node)
    >>> message = run.send(0)
    >>> run.receive(1, message, own=0.5, other=0.5)
    >>> run.finished().owners.tolist()
    [0, 1]
    """

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        self._rows: list[Row] = [{} for _ in range(nodes)]
        self._flying: dict[int, Row] = {}
        self._sent = self._events = self._width = 0
        self._entered: list[int] = []
        self._owners: list[int] = []
        self._seen: list[tuple[int, Row]] = []
        self._stages: list[Stage] = []

    def enter(self, node: int, weight: float = 1.0) -> None:
        """Add ``weight`` times a new value of the node to what it holds."""
        number = len(self._owners)
        self._rows[node][self._width + len(self._entered)] = weight
        self._entered.append(number)
        self._owners.append(node)
        self._count()

    def scale(self, node: int, factor: float) -> None:
        """Multiply what a node holds."""
        self._rows[node] = _combined(self._rows[node], factor, {}, 0.0)

    def send(self, node: int) -> int:
        """Put what a node holds on its way; return the message's number."""
        self._flying[self._sent] = dict(self._rows[node])
        self._sent += 1
        return self._sent - 1

    def receive(self, node: int, message: int, *, own: float, other: float, last: bool = True) -> None:
        """Let a node see a message, and hold ``own`` times what it held and ``other`` times the message.

        Parameters
        ----------
        last : bool
            Whether the message is not received again.
        """
        row = self._flying[message]
        self._seen.append((node, dict(row)))
        self._rows[node] = _combined(self._rows[node], own, row, other)
        if last:
            self.lose(message)
        self._count()

    def lose(self, message: int) -> None:
        """Let a message be received by nobody from now on."""
        del self._flying[message]

    def finished(self) -> LinearRun:
        """All of it."""
        self._close()
        return LinearRun(
            nodes=self.nodes, owners=np.array(self._owners, dtype=np.int64), stages=list(self._stages)
        )

    def _count(self) -> None:
        self._events += 1
        if self._events >= max(_EVENTS_PER_NODE * self.nodes, 16):
            self._close()

    def _close(self) -> None:
        width = self._width + len(self._entered)
        self._stages.append(
            Stage(
                transition=_matrix([*self._rows, *self._flying.values()], width),
                observed=_matrix([row for _, row in self._seen], width),
                receivers=np.array([node for node, _ in self._seen], dtype=np.int64),
                values=np.array(self._entered, dtype=np.int64),
            )
        )
        self._rows = [{place: 1.0} for place in range(self.nodes)]
        self._flying = {message: {self.nodes + place: 1.0} for place, message in enumerate(self._flying)}
        self._width = self.nodes + len(self._flying)
        self._entered, self._seen, self._events = [], [], 0


def _combined(own: Row, factor: float, other: Row, weight: float) -> Row:
    combined = {place: factor * value for place, value in own.items()} if factor else {}
    if weight:
        for place, value in other.items():
            combined[place] = combined.get(place, 0.0) + weight * value
    return combined


def _matrix(rows: list[Row], width: int) -> csr_array:
    lengths = np.array([0, *map(len, rows)], dtype=np.int64).cumsum()
    columns: NDArray[np.int64] = np.fromiter((place for row in rows for place in row), dtype=np.int64)
    values = np.fromiter((value for row in rows for value in row.values()), dtype=np.float64)
    return csr_array((values, columns, lengths), shape=(len(rows), width))
