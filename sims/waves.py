"""From operations one after another to waves of updates side by side.

An update (a node takes in a model and trains) depends on the last update of the node and on the one that made
the model it takes in. Its wave is one more than the later of the two, or the next after that which still has
room. So all updates of a wave touch different nodes and can run in any order, or at once.

A model on its way is kept in a slot, unless its sender is not updated again before it is taken in: then it is
read from the sender's own row. Slots are allotted by linear scan over the waves (Poletto & Sarkar 1999), and
several messages with the same model share one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sims.timeline import Window
from sims.timeline.events import ABSORB

__all__ = ["Waves", "compile_waves"]

_NEVER = np.int64(2**62)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waves:
    """A window's updates, ordered by wave and, within a wave, by group.

    Places are rows of one table: ``0 … N − 1`` are the nodes' own, ``N + 1 + slot`` those of models on their
    way, and ``N`` is a place that nobody reads.

    Parameters
    ----------
    node : ndarray
        Who is updated, int64 ``[U]``.
    source : ndarray
        Place of the model it takes in, int64 ``[U]``.
    keep : ndarray
        Place to which the updated row goes too, because it will be sent from there; N if it need not. int64.
    part : ndarray
        Part of the model that is taken in, int64 ``[U]``.
    step : ndarray
        How many updates of the same node come before in this window, int64 ``[U]``.
    group_ends : ndarray
        Where each group of each wave ends, int64 ``[waves, groups]``.
    first_node, first_keep : ndarray
        Rows to copy to slots before the first wave: from place, to place. int64.
    slots : int
        Slots needed at once, those of earlier windows included.
    pending : ndarray
        For each pending message its reference from now on, ``−1 − slot``.
    """

    node: NDArray[np.int64]
    source: NDArray[np.int64]
    keep: NDArray[np.int64]
    part: NDArray[np.int64]
    step: NDArray[np.int64]
    group_ends: NDArray[np.int64]
    first_node: NDArray[np.int64]
    first_keep: NDArray[np.int64]
    slots: int
    pending: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.group_ends)


def compile_waves(
    window: Window, groups: NDArray[np.int64], *, capacity: int, number_of_groups: int | None = None
) -> Waves:
    """Order a window's operations as waves.

    Parameters
    ----------
    window : Window
    groups : ndarray
        Group of each node, int64 ``[N]``: nodes of a group can be updated together.
    capacity : int
        Most updates of a group in a wave.

    Returns
    -------
    Waves
    """
    n = len(groups)
    kinds = int(groups.max()) + 1 if number_of_groups is None else number_of_groups
    operations = len(window)
    snapshot = np.full(operations, -1, dtype=np.int64)
    level, step, made_at, read_until, elided = _levels(
        window.kind, window.node, window.ref, groups, kinds, capacity, snapshot
    )
    ref_pending = window.pending
    slot_of, slots, pending = _slots(
        window.kind, window.ref, ref_pending, snapshot, level, made_at, read_until, elided
    )
    updates = np.flatnonzero(window.kind == ABSORB)
    order, group_ends = _order(level[updates], groups[window.node[updates]], kinds)
    updates = updates[order]
    place = n + 1
    ref = window.ref[updates]
    made_in_window = ref >= 0
    made_by = snapshot[np.where(made_in_window, ref, 0)] if operations else ref
    source = np.where(
        made_in_window,
        np.where(elided[made_by], window.node[made_by].astype(np.int64), place + slot_of[made_by]),
        place - 1 - ref,
    )
    keep, first_node, first_keep = _keeps(window.kind, window.node, snapshot, slot_of, place)
    return Waves(
        node=window.node[updates].astype(np.int64),
        source=source,
        keep=keep[updates],
        part=window.part[updates].astype(np.int64),
        step=step[updates],
        group_ends=group_ends,
        first_node=first_node,
        first_keep=first_keep,
        slots=slots,
        pending=pending,
    )


@njit(cache=True)
def _levels(
    kind: np.ndarray,
    node: np.ndarray,
    ref: np.ndarray,
    groups: np.ndarray,
    kinds: int,
    capacity: int,
    snapshot: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Wave of every update, and for every snapshot the wave that makes it and the last that reads it.

    ``snapshot`` becomes, for each EMIT, the first EMIT of the same version of the same row, which stands for
    all; −1 elsewhere.
    """
    operations, n = len(kind), len(groups)
    level = np.zeros(operations, dtype=np.int64)
    step = np.zeros(operations, dtype=np.int64)
    made_at = np.zeros(operations, dtype=np.int64)
    read_until = np.full(operations, -1, dtype=np.int64)
    overwritten_at = np.full(operations, _NEVER, dtype=np.int64)
    last_level = np.zeros(n, dtype=np.int64)
    updates = np.zeros(n, dtype=np.int64)
    version = np.full(n, -1, dtype=np.int64)  # the snapshot of the node's present row, if there is one
    room = np.full((1024, kinds), capacity, dtype=np.int64)
    onward = np.zeros((1024, kinds), dtype=np.int64)  # union-find: the next wave that may have room
    for wave in range(1024):
        onward[wave] = wave
    for e in range(operations):
        i = node[e]
        if kind[e] != ABSORB:
            if version[i] < 0:
                version[i] = e
                made_at[e] = last_level[i]
            snapshot[e] = version[i]
            continue
        earliest = last_level[i]
        if ref[e] >= 0:
            earliest = max(earliest, made_at[snapshot[ref[e]]])
        wave, group = earliest + 1, groups[i]
        while True:
            while wave >= len(onward):
                length = len(onward)
                more_room = np.full((2 * length, kinds), capacity, dtype=np.int64)
                more_room[:length] = room
                more_onward = np.zeros((2 * length, kinds), dtype=np.int64)
                more_onward[:length] = onward
                for later in range(length, 2 * length):
                    more_onward[later] = later
                room, onward = more_room, more_onward
            target = onward[wave, group]
            if target == wave:
                break
            if target < len(onward):
                onward[wave, group] = onward[target, group]
            wave = target
        room[wave, group] -= 1
        if room[wave, group] == 0:
            onward[wave, group] = wave + 1
        level[e], step[e] = wave, updates[i]
        updates[i] += 1
        last_level[i] = wave
        if version[i] >= 0:
            overwritten_at[version[i]] = wave
            version[i] = -1
        if ref[e] >= 0:
            made_by = snapshot[ref[e]]
            read_until[made_by] = max(read_until[made_by], wave)
    elided = read_until < overwritten_at
    return level, step, made_at, read_until, elided


@njit(cache=True)
def _slots(
    kind: np.ndarray,
    ref: np.ndarray,
    pending: np.ndarray,
    snapshot: np.ndarray,
    level: np.ndarray,
    made_at: np.ndarray,
    read_until: np.ndarray,
    elided: np.ndarray,
) -> tuple[np.ndarray, int, np.ndarray]:
    """Slot of every snapshot that needs one, how many there are, and the pending messages' references."""
    operations = len(kind)
    slot_of = np.full(operations, -1, dtype=np.int64)
    highest = np.int64(0)
    for e in range(operations):
        if kind[e] == ABSORB and ref[e] < 0:
            highest = max(highest, -ref[e])
    for k in range(len(pending)):
        if pending[k] >= 0:
            canonical = snapshot[pending[k]]
            read_until[canonical] = _NEVER
            elided[canonical] = False
        else:
            highest = max(highest, -pending[k])
    # Slots of earlier windows are in use from the start, until their last reader.
    busy_until = np.full(highest, -1, dtype=np.int64)
    for e in range(operations):
        if kind[e] == ABSORB and ref[e] < 0:
            slot = -1 - ref[e]
            busy_until[slot] = max(busy_until[slot], level[e])
    for k in range(len(pending)):
        if pending[k] < 0:
            busy_until[-1 - pending[k]] = _NEVER
    last = np.int64(0)
    for e in range(operations):
        last = max(last, level[e])
    # Chains of what begins, and of what becomes free, wave by wave.
    begins = np.full(last + 2, -1, dtype=np.int64)
    next_begin = np.full(operations, -1, dtype=np.int64)
    for e in range(operations - 1, -1, -1):
        if snapshot[e] == e and not elided[e] and read_until[e] >= 0:
            next_begin[e] = begins[made_at[e]]
            begins[made_at[e]] = e
    frees = np.full(last + 2, -1, dtype=np.int64)
    most = highest + operations
    next_free = np.full(most, -1, dtype=np.int64)
    stack = np.empty(most, dtype=np.int64)
    free = 0
    for slot in range(highest - 1, -1, -1):
        if busy_until[slot] < 0:
            stack[free] = slot
            free += 1
        elif busy_until[slot] < _NEVER:
            next_free[slot] = frees[busy_until[slot]]
            frees[busy_until[slot]] = slot
    slots = highest
    for wave in range(last + 1):
        if wave > 0:  # what wave − 1 read last may be overwritten in this one
            slot = frees[wave - 1]
            while slot >= 0:
                stack[free] = slot
                free += 1
                slot = next_free[slot]
        e = begins[wave]
        while e >= 0:
            if free:
                free -= 1
                slot = stack[free]
            else:
                slot = slots
                slots += 1
            slot_of[e] = slot
            if read_until[e] < _NEVER:
                next_free[slot] = frees[read_until[e]]
                frees[read_until[e]] = slot
            e = next_begin[e]
    renamed = np.empty(len(pending), dtype=np.int64)
    for k in range(len(pending)):
        renamed[k] = pending[k] if pending[k] < 0 else -1 - slot_of[snapshot[pending[k]]]
    return slot_of, slots, renamed  # type: ignore[return-value]  # numba returns Python integers


@njit(cache=True)
def _order(level: np.ndarray, group: np.ndarray, kinds: int) -> tuple[np.ndarray, np.ndarray]:
    """Stable counting sort by (wave, group); where each group of each wave ends."""
    waves = np.int64(0)
    for u in range(len(level)):
        waves = max(waves, level[u])
    ends = np.zeros(waves * kinds + 1, dtype=np.int64)
    for u in range(len(level)):
        ends[(level[u] - 1) * kinds + group[u] + 1] += 1
    for cell in range(waves * kinds):
        ends[cell + 1] += ends[cell]
    order = np.empty(len(level), dtype=np.int64)
    for u in range(len(level)):
        cell = (level[u] - 1) * kinds + group[u]
        order[ends[cell]] = u
        ends[cell] += 1
    return order, ends[: waves * kinds].reshape(waves, kinds)


@njit(cache=True)
def _keeps(
    kind: np.ndarray, node: np.ndarray, snapshot: np.ndarray, slot_of: np.ndarray, place: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each update where its row is to be kept; and rows of before the first wave, with their places."""
    keep = np.full(len(kind), place - 1, dtype=np.int64)
    last = np.full(node.max() + 1 if len(node) else 0, -1, dtype=np.int64)
    first_node, first_keep = [np.int64(0) for _ in range(0)], [np.int64(0) for _ in range(0)]
    for e in range(len(kind)):
        if kind[e] == ABSORB:
            last[node[e]] = e
        elif snapshot[e] == e and slot_of[e] >= 0:
            if last[node[e]] >= 0:
                keep[last[node[e]]] = place + slot_of[e]
            else:
                first_node.append(np.int64(node[e]))
                first_keep.append(place + slot_of[e])
    return keep, np.array(first_node, dtype=np.int64), np.array(first_keep, dtype=np.int64)
