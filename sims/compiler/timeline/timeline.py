"""The timeline of a run, window by window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sims.compiler.operations import ON_ANSWER
from sims.compiler.timeline import calendar, events, states
from sims.compiler.timeline.conditions import Conditions

__all__ = ["Timeline", "Window", "longest_window"]

_FEWEST_OPERATIONS, _MOST_OPERATIONS = 1 << 16, 2_000_000
_OPERATIONS_PER_NODE = 64  # some thirty rounds, so that few waves are cut short by the end of a window


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Operations that follow one another, as arrays."""

    kind: NDArray[np.uint8]
    """An operation of `sims.compiler.operations`, uint8 ``[E]``."""
    node: NDArray[np.int32]
    """The node that sends or is updated, int32 ``[E]``."""
    ref: NDArray[np.int64]
    """ON_RECEIPT and ON_ANSWER: the snapshot absorbed, int64 ``[E]``; see `sims.compiler.timeline.states`."""
    part: NDArray[np.int32]
    """The part of the model that is absorbed, int32 ``[E]``."""
    time: NDArray[np.int64]
    """Nanoseconds since the start, int64 ``[E]``."""
    pending: NDArray[np.int64]
    """References of the models still needed at the end of the window, int64."""
    begun: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """ON_ANSWER: the node's own snapshot at which its step was begun, int64 ``[E]``; may be empty where there is
    no such operation.
    """
    peer: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    """ON_RECEIPT and ON_ANSWER: the node whose model is absorbed, or ``−1 − node`` if it answers this one, int32
    ``[E]``; may be empty where nobody reads it.
    """

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def span(self) -> tuple[int, int]:
        """When the first and last operations are, in ticks; 0 if there are none."""
        return (int(self.time[0]), int(self.time[-1])) if len(self) else (0, 0)


def longest_window(nodes: int) -> int:
    """Operations that a window has at most, unless more are due at one time."""
    return min(max(_OPERATIONS_PER_NODE * nodes, _FEWEST_OPERATIONS), _MOST_OPERATIONS)


class Timeline:
    """Everything that happens in a network, except what the models learn.

    Parameters
    ----------
    conditions : Conditions
    most_operations : int, optional
        Longest window, which bounds the memory a timeline takes, and how long an engine goes on without a change.
    """

    def __init__(self, conditions: Conditions, *, most_operations: int | None = None) -> None:
        self.conditions = conditions
        n = conditions.n
        if most_operations is None:
            most_operations = longest_window(n)
        buckets = int(np.clip(n // 8, 64, 1 << 20))
        self._calendar = calendar.new_calendar(
            capacity=4 * n + 4 * conditions.capacity + 64,
            buckets=buckets,
            width=max(1, 2 * conditions.period // buckets),
        )
        self._nodes = states.NodeStates(
            wakes=np.zeros(n, dtype=np.int64),
            sent=np.zeros(n, dtype=np.int64),
            received=np.zeros(n, dtype=np.int64),
            tokens=np.zeros(n * conditions.accounts, dtype=np.int32),
            ages=np.zeros(n * conditions.accounts if conditions.compares_ages else 0, dtype=np.int64),
            uplink_free=np.zeros(n, dtype=np.int64),
            busy_until=np.zeros(n, dtype=np.int64),
            sessions=np.zeros(n, dtype=np.int64),
            away=np.zeros(n, dtype=np.uint8),
            island=np.zeros(n, dtype=np.uint8),
            counts=np.zeros(8, dtype=np.int64),
        )
        self._length = max(most_operations, 2 * conditions.capacity + 8)
        self._operations = self._empty(min(self._length, 1 << 14))
        events.begin(conditions, self._calendar, self._nodes)

    @staticmethod
    def _empty(length: int) -> states.Operations:
        return states.Operations(
            kind=np.empty(length, dtype=np.uint8),
            node=np.empty(length, dtype=np.int32),
            ref=np.empty(length, dtype=np.int64),
            part=np.empty(length, dtype=np.int32),
            begun=np.empty(length, dtype=np.int64),
            peer=np.empty(length, dtype=np.int32),
            time=np.empty(length, dtype=np.int64),
        )

    def windows(self, until: int) -> Iterator[Window]:
        """Yield windows up to and including time ``until`` (ticks).

        After each window the caller tells `kept` where it keeps the snapshots that are still pending.
        """
        finished = False
        while not finished:
            status = events.advance(self.conditions, self._calendar, self._nodes, self._operations, until)
            if status == events.NEEDS_ROOM:
                self._calendar = calendar.grow(self._calendar)
                continue
            written = int(self._nodes.counts[states.WRITTEN])
            if status == events.FULL and len(self._operations.kind) < self._length:
                longer = self._empty(min(2 * len(self._operations.kind), self._length))
                old: NDArray[Any]
                new: NDArray[Any]
                for old, new in zip(self._operations, longer, strict=True):  # type: ignore[assignment]
                    new[:written] = old[:written]
                self._operations = longer
                continue
            finished = status == events.FINISHED
            self._nodes.counts[states.WRITTEN] = 0  # before the caller has it: it may never come back
            yield self._window(written)

    def _carrying(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which events carry a model, and which one at which a step was begun."""
        kind = self._calendar.kind
        begun = states.CARRYING_BEGUN if self.conditions.trains == ON_ANSWER else ()
        return np.isin(kind, states.CARRYING), np.isin(kind, begun)

    def _window(self, written: int) -> Window:
        arrays = {name: getattr(self._operations, name)[:written] for name in self._operations._fields}
        carrying, begun = self._carrying()
        return Window(
            **arrays, pending=np.concatenate([self._calendar.ref[carrying], self._calendar.begun[begun]])
        )

    def kept(self, refs: NDArray[np.int64]) -> None:
        """Say by which references the pending models of the last window are known from now on."""
        carrying, begun = self._carrying()
        models = np.count_nonzero(carrying)
        self._calendar.ref[carrying], self._calendar.begun[begun] = refs[:models], refs[models:]

    @property
    def online(self) -> NDArray[np.bool_]:
        """Which nodes are online now, shape ``[N]``."""
        return self._nodes.away == 0

    @property
    def ages(self) -> NDArray[np.int64] | None:
        """Ages of all models, int64 ``[N * accounts]``; None where nothing that is sent depends on them."""
        return self._nodes.ages if self.conditions.compares_ages else None

    @property
    def counts(self) -> dict[str, int]:
        """Totals so far.

        Models ``sent``, those lost included, and ``delivered``; ``requests`` for models; messages ``lost`` on
        their way, and ``unreachable`` ones: the receiver was away, or on the other side of a split.
        """
        return dict(zip(states.COUNTED, self._nodes.counts.tolist(), strict=False))

    def state(self) -> dict[str, Any]:
        """All that changes, as named arrays, for a checkpoint."""
        parts: dict[str, calendar.Calendar | states.NodeStates] = {
            "calendar": self._calendar,
            "nodes": self._nodes,
        }
        return {
            f"{part}.{name}": array
            for part, value in parts.items()
            for name, array in zip(value._fields, value, strict=True)
        }

    def copied_state(self) -> dict[str, Any]:
        """`state`, which nothing that happens later changes."""
        return {name: array.copy() for name, array in self.state().items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a value of `state`."""
        self._calendar = calendar.Calendar(*(state[f"calendar.{name}"] for name in calendar.Calendar._fields))
        self._nodes = states.NodeStates(*(state[f"nodes.{name}"] for name in states.NodeStates._fields))
