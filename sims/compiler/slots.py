"""Slots that keep models on their way, allotted by linear scan over the waves (Poletto & Sarkar 1999)."""

from __future__ import annotations

import numpy as np
from numba import njit

from sims.compiler.operations import EMIT, ON_ANSWER, ON_RECEIPT

__all__ = ["NEVER", "places_kept", "slots_of"]

NEVER = np.int64(2**62)


@njit(cache=True, nogil=True)
def slots_of(
    kind: np.ndarray,
    ref: np.ndarray,
    begun: np.ndarray,
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
        if kind[e] >= ON_RECEIPT and ref[e] < 0:
            highest = max(highest, -ref[e])
        if kind[e] == ON_ANSWER and begun[e] < 0:
            highest = max(highest, -begun[e])
    for k in range(len(pending)):
        if pending[k] >= 0:
            canonical = snapshot[pending[k]]
            read_until[canonical] = NEVER
            elided[canonical] = False
        else:
            highest = max(highest, -pending[k])
    # Slots of earlier windows are in use from the start, until their last reader.
    busy_until = np.full(highest, -1, dtype=np.int64)
    for e in range(operations):
        if kind[e] >= ON_RECEIPT and ref[e] < 0:
            slot = -1 - ref[e]
            busy_until[slot] = max(busy_until[slot], level[e])
        if kind[e] == ON_ANSWER and begun[e] < 0:
            slot = -1 - begun[e]
            busy_until[slot] = max(busy_until[slot], level[e])
    for k in range(len(pending)):
        if pending[k] < 0:
            busy_until[-1 - pending[k]] = NEVER
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
        elif busy_until[slot] < NEVER:
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
            if read_until[e] < NEVER:
                next_free[slot] = frees[read_until[e]]
                frees[read_until[e]] = slot
            e = next_begin[e]
    renamed = np.empty(len(pending), dtype=np.int64)
    for k in range(len(pending)):
        renamed[k] = pending[k] if pending[k] < 0 else -1 - slot_of[snapshot[pending[k]]]
    return slot_of, slots, renamed  # type: ignore[return-value]  # numba returns Python integers


@njit(cache=True, nogil=True)
def places_kept(
    kind: np.ndarray, node: np.ndarray, snapshot: np.ndarray, slot_of: np.ndarray, place: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each update where its row is to be kept; and rows of before the first wave, with their places."""
    keep = np.full(len(kind), place - 1, dtype=np.int64)
    last = np.full(node.max() + 1 if len(node) else 0, -1, dtype=np.int64)
    first_node, first_keep = [np.int64(0) for _ in range(0)], [np.int64(0) for _ in range(0)]
    for e in range(len(kind)):
        if kind[e] != EMIT:
            last[node[e]] = e
        elif snapshot[e] == e and slot_of[e] >= 0:
            if last[node[e]] >= 0:
                keep[last[node[e]]] = place + slot_of[e]
            else:
                first_node.append(np.int64(node[e]))
                first_keep.append(place + slot_of[e])
    return keep, np.array(first_node, dtype=np.int64), np.array(first_keep, dtype=np.int64)
