"""Linear runs written event by event, for nodes that send on their own schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sims.privacy.linear_run import LinearRun, Stage
from sims.privacy.source_noise import SourceNoise

__all__ = ["EventRun"]

Row = dict[int, float]

_LEAST_EVENTS = 16


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
    ...     run.change(node, own=0.0, entering=[1.0])
    >>> message = run.send(0)
    >>> run.receive(1, message)
    >>> run.change(1, own=0.5, others={message: 0.5})
    >>> run.forget(message)
    >>> run.finished().owners.tolist()
    [0, 1]
    """

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        self._rows: list[Row] = [{} for _ in range(nodes)]
        self._messages: dict[int, Row] = {}
        self._senders: dict[int, int] = {}
        self._sent = self._events = self._width = 0
        self._entered: list[int] = []
        self._owners: list[int] = []
        self._private: list[bool] = []
        self._seen: list[tuple[int, int, Row]] = []
        self._stages: list[Stage] = []

    def send(self, node: int) -> int:
        """Keep what a node holds as a message; return the message's number."""
        self._messages[self._sent] = self._rows[node]
        self._senders[self._sent] = node
        self._sent += 1
        return self._sent - 1

    def sender(self, message: int) -> int:
        """Who sent a message."""
        return self._senders[message]

    def with_noise(self, message: int, *, deviation: float) -> int:
        """Keep a copy of a message that has noise of its own on it, which its sender alone knows; its number."""
        row = dict(self._messages[message])
        row[self._enter(self._senders[message], private=False)] = deviation
        self._messages[self._sent], self._senders[self._sent] = row, self._senders[message]
        self._sent += 1
        return self._sent - 1

    def receive(self, node: int, message: int) -> None:
        """Let a node see a message."""
        self._seen.append((node, self._senders[message], self._messages[message]))

    def change(
        self,
        node: int,
        *,
        own: float,
        others: Mapping[int, float] | None = None,
        entering: Sequence[float] = (),
    ) -> None:
        """Let a node hold a combination of what it held, of messages, and of values of its own that enter.

        Parameters
        ----------
        node : int
        own : float
            Weight of what it held.
        others : mapping, optional
            Weights by the numbers of messages.
        entering : sequence of float
            Weights of new values.
        """
        self.change_beside(node, rows=[({node: own}, others or {}, entering)], places=[node])

    def change_beside(
        self,
        node: int,
        *,
        rows: Sequence[tuple[Mapping[int, float], Mapping[int, float], Sequence[float]]],
        places: Sequence[int],
    ) -> None:
        """Let several rows of a node, each at a place among the nodes, become combinations of what they all were.

        Parameters
        ----------
        node : int
            The owner of the values that enter.
        rows : sequence
            For each place the weights of rows by place, of messages by number, and of the values that enter, which
            are the same for all.
        places : sequence of int
        """
        count = max(len(entering) for _, _, entering in rows)
        new = [self._enter(node, private=True) for _ in range(count)]
        after = []
        for held, others, entering in rows:
            row: Row = {}
            parts = [(weight, self._rows[place]) for place, weight in held.items()]
            parts += [(weight, self._messages[message]) for message, weight in others.items()]
            for weight, part in parts:
                for place, value in part.items() if weight else ():
                    row[place] = row.get(place, 0.0) + weight * value
            row |= {new[k]: weight for k, weight in enumerate(entering) if weight}
            after.append(row)
        for place, row in zip(places, after, strict=True):
            self._rows[place] = row
        self._events += 1
        if self._events >= max(self.nodes, _LEAST_EVENTS):
            self._close()

    def forget(self, message: int) -> None:
        """Drop a message that is not used any more."""
        del self._messages[message], self._senders[message]

    def finished(self) -> LinearRun:
        """All of it."""
        self._close()
        return LinearRun(
            nodes=self.nodes,
            owners=np.array(self._owners, dtype=np.int64),
            stages=list(self._stages),
            noise=SourceNoise.of_sources(self._private, [-1] * len(self._owners), self._owners),
        )

    def _enter(self, node: int, *, private: bool) -> int:
        """Let a source of a node enter; its place among the columns of this stage."""
        place = self._width + len(self._entered)
        self._entered.append(len(self._owners))
        self._owners.append(node)
        self._private.append(private)
        return place

    def _close(self) -> None:
        width = self._width + len(self._entered)
        self._stages.append(
            Stage(
                transition=_matrix([*self._rows, *self._messages.values()], width),
                observed=_matrix([row for _, _, row in self._seen], width),
                senders=np.array([sender for _, sender, _ in self._seen], dtype=np.int64),
                receivers=np.array([node for node, _, _ in self._seen], dtype=np.int64),
                values=np.array(self._entered, dtype=np.int64),
            )
        )
        self._rows = [{place: 1.0} for place in range(self.nodes)]
        self._messages = {message: {self.nodes + place: 1.0} for place, message in enumerate(self._messages)}
        self._width = self.nodes + len(self._messages)
        self._entered, self._seen, self._events = [], [], 0


def _matrix(rows: list[Row], width: int) -> csr_array:
    lengths = np.array([0, *map(len, rows)], dtype=np.int64).cumsum()
    columns: NDArray[np.int64] = np.fromiter((place for row in rows for place in row), dtype=np.int64)
    values = np.fromiter((value for row in rows for value in row.values()), dtype=np.float64)
    return csr_array((values, columns, lengths), shape=(len(rows), width))
