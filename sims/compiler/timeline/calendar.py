"""A calendar queue: pending events in buckets of time, the current bucket as a heap.

Brown, "Calendar queues: a fast O(1) priority queue implementation for the simulation event set problem",
Communications of the ACM 31(10), 1988. Only the few events of the current bucket are kept in order, so they
stay in the cache however many are pending.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sims.compiler.timeline.compiled import compiled

__all__ = ["Calendar", "free_events", "grow", "insert", "is_due", "new_calendar", "pop"]

# Places in `Calendar.at`
_CURRENT, _HEAP_SIZE, _LINKED, _FREE, _FREE_COUNT, _SEQUENCE, _WIDTH = range(7)


class Calendar(NamedTuple):
    """Pending events, and the order in which they happen: by time, then deliveries first, then as scheduled.

    Each event has a ``key`` (twice its time in ticks, plus one unless it is a delivery), a ``kind``, two nodes,
    a reference to a snapshot (see `sims.compiler.timeline.events`) and the part of the model it carries;
    ``begun`` is a second reference, which only some kinds have, and ``age`` that of the model, where it counts.
    """

    key: NDArray[np.int64]
    sequence: NDArray[np.int64]
    kind: NDArray[np.int8]
    node: NDArray[np.int32]
    peer: NDArray[np.int32]
    ref: NDArray[np.int64]
    part: NDArray[np.int32]
    begun: NDArray[np.int64]
    age: NDArray[np.int64]
    following: NDArray[np.int32]
    heap: NDArray[np.int32]
    first: NDArray[np.int32]
    at: NDArray[np.int64]


def new_calendar(*, capacity: int, buckets: int, width: int) -> Calendar:
    """Make an empty calendar of ``buckets`` buckets of ``width`` ticks, for up to ``capacity`` events."""
    following = np.arange(1, capacity + 1, dtype=np.int32)
    following[-1] = -1
    at = np.zeros(7, dtype=np.int64)
    at[_FREE_COUNT], at[_WIDTH] = capacity, 2 * max(1, width)
    return Calendar(
        key=np.zeros(capacity, dtype=np.int64),
        sequence=np.zeros(capacity, dtype=np.int64),
        kind=np.full(capacity, -1, dtype=np.int8),
        node=np.zeros(capacity, dtype=np.int32),
        peer=np.zeros(capacity, dtype=np.int32),
        ref=np.full(capacity, -1, dtype=np.int64),
        part=np.zeros(capacity, dtype=np.int32),
        begun=np.zeros(capacity, dtype=np.int64),
        age=np.zeros(capacity, dtype=np.int64),
        following=following,
        heap=np.zeros(capacity, dtype=np.int32),
        first=np.full(buckets, -1, dtype=np.int32),
        at=at,
    )


def grow(calendar: Calendar) -> Calendar:
    """Make the same calendar with room for twice as many events."""
    old = len(calendar.key)
    fresh = new_calendar(capacity=2 * old, buckets=len(calendar.first), width=1)
    for name in (
        "key",
        "sequence",
        "kind",
        "node",
        "peer",
        "ref",
        "part",
        "begun",
        "age",
        "following",
        "heap",
    ):
        getattr(fresh, name)[:old] = getattr(calendar, name)
    fresh.first[:] = calendar.first
    fresh.at[:] = calendar.at
    fresh.following[-1] = calendar.at[_FREE]
    fresh.at[_FREE], fresh.at[_FREE_COUNT] = old, calendar.at[_FREE_COUNT] + old
    return fresh


@compiled
def free_events(q: Calendar) -> int:
    """Room for so many more events."""
    return q.at[_FREE_COUNT]


@compiled
def _before(q: Calendar, a: int, b: int) -> bool:
    if q.key[a] != q.key[b]:
        return q.key[a] < q.key[b]
    return q.sequence[a] < q.sequence[b]


@compiled
def _push(q: Calendar, event: int) -> None:
    place = q.at[_HEAP_SIZE]
    q.at[_HEAP_SIZE] += 1
    while place > 0:
        parent = (place - 1) >> 1
        if not _before(q, event, q.heap[parent]):
            break
        q.heap[place] = q.heap[parent]
        place = parent
    q.heap[place] = event


@compiled
def insert(q: Calendar, key: int, kind: int, node: int, peer: int, ref: int, part: int) -> int:
    """Add an event, and return its place; there must be room (`free_events`)."""
    event = q.at[_FREE]
    q.at[_FREE] = q.following[event]
    q.at[_FREE_COUNT] -= 1
    q.key[event], q.sequence[event] = key, q.at[_SEQUENCE]
    q.at[_SEQUENCE] += 1
    q.kind[event], q.node[event], q.peer[event] = kind, node, peer
    q.ref[event], q.part[event] = ref, part
    bucket = key // q.at[_WIDTH]
    if bucket <= q.at[_CURRENT]:
        _push(q, event)
    else:
        place = bucket % len(q.first)
        q.following[event] = q.first[place]
        q.first[place] = event
        q.at[_LINKED] += 1
    return event


@compiled
def is_due(q: Calendar, last_key: int) -> bool:
    """Whether an event with a key of at most ``last_key`` is pending; it is then at the top of the heap."""
    while q.at[_HEAP_SIZE] == 0:
        if q.at[_LINKED] == 0 or (q.at[_CURRENT] + 1) * q.at[_WIDTH] > last_key:
            return False
        q.at[_CURRENT] += 1
        place = q.at[_CURRENT] % len(q.first)
        event = q.first[place]
        q.first[place] = -1
        while event >= 0:
            following = q.following[event]
            if q.key[event] // q.at[_WIDTH] <= q.at[_CURRENT]:
                q.at[_LINKED] -= 1
                _push(q, event)
            else:  # due in a later turn of the wheel
                q.following[event] = q.first[place]
                q.first[place] = event
            event = following
    return q.key[q.heap[0]] <= last_key


@compiled
def pop(q: Calendar) -> int:
    """Take the first event off; its fields stay readable until the next `insert`."""
    top = q.heap[0]
    q.at[_HEAP_SIZE] -= 1
    size = q.at[_HEAP_SIZE]
    last = q.heap[size]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and _before(q, q.heap[child + 1], q.heap[child]):
            child += 1
        if not _before(q, q.heap[child], last):
            break
        q.heap[place] = q.heap[child]
        place = child
    q.heap[place] = last
    q.following[top] = q.at[_FREE]
    q.at[_FREE] = top
    q.at[_FREE_COUNT] += 1
    kind = q.kind[top]
    q.kind[top] = -1 - kind  # negative: no longer pending
    return top
