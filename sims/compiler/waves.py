"""Waves of updates that run side by side, made from operations in sequence.

An update (any operation but a snapshot) depends on the last update of the node and on the one that made the
model it takes in. Its wave is one more than the later of the two, or the next after that which still has room.
So all updates of a wave touch different nodes and can run in any order, or at once.

A model on its way is kept in a slot, unless its sender is not updated again before it is taken in: then it is
read from the sender's own row. Slots are allotted by linear scan over the waves (Poletto & Sarkar 1999), and
several messages with the same model share one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sims.compiler.operations import EMIT, ON_ANSWER, ON_CLOCK, ON_RECEIPT, OPERATIONS
from sims.compiler.slots import NEVER, places_kept, slots_of
from sims.compiler.timeline import Window

__all__ = ["Waves", "compile_waves"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waves:
    """A window's updates, ordered by wave and, within a wave, by group.

    Places are rows of one table: ``0 … N − 1`` are the nodes' own, ``N + 1 + slot`` those of models on their
    way, and ``N`` is a place that nobody reads.
    """

    node: NDArray[np.int64]
    """The node updated, int64 ``[U]``."""
    source: NDArray[np.int64]
    """Place of the model it absorbs, int64 ``[U]``; its own if it absorbs none."""
    keep: NDArray[np.int64]
    """Further place for the updated row, from which it will be sent; N if none is needed. int64."""
    part: NDArray[np.int64]
    """Part of the model that is absorbed, int64 ``[U]``."""
    step: NDArray[np.int64]
    """Number of earlier trainings of the same node in this window, int64 ``[U]``."""
    begun: NDArray[np.int64]
    """Place of the node's model at which the step of an ON_ANSWER was begun, int64 ``[U]``; N elsewhere."""
    event: NDArray[np.int64]
    """Index of its operation in the window, int64 ``[U]``."""
    group_ends: NDArray[np.int64]
    """End of each group of each wave, int64 ``[waves, groups]``."""
    first_node: NDArray[np.int64]
    first_keep: NDArray[np.int64]
    """Rows to copy to slots before the first wave: from place, to place. int64."""
    slots: int
    """Slots needed at once, those of earlier windows included."""
    pending: NDArray[np.int64]
    """For each pending message its reference from now on, ``−1 − slot``."""

    def __len__(self) -> int:
        return len(self.group_ends)


def compile_waves(
    window: Window,
    groups: NDArray[np.int64],
    *,
    capacity: int,
    number_of_groups: int | None = None,
    training: int = ON_RECEIPT,
) -> Waves:
    """Order a window's operations as waves.

    Parameters
    ----------
    window : Window
    groups : ndarray
        Group of each node, int64 ``[N]``, or of each operation of each node, ``[OPERATIONS, N]``: updates of a
        group can be done together.
    capacity : int
        Most updates of a group in a wave.
    number_of_groups : int, optional
    training : int
        The operation in which nodes train.

    Returns
    -------
    Waves
    """
    n = groups.shape[-1]
    groups = np.ascontiguousarray(np.broadcast_to(groups, (OPERATIONS, n)))
    kinds = int(groups.max()) + 1 if number_of_groups is None else number_of_groups
    snapshot = np.full(len(window), -1, dtype=np.int64)
    level, step, made_at, read_until, elided = _levels(
        window.kind, window.node, window.ref, window.begun, groups, kinds, capacity, training, snapshot
    )
    slot_of, slots, pending = slots_of(
        window.kind, window.ref, window.begun, window.pending, snapshot, level, made_at, read_until, elided
    )
    updates = np.flatnonzero(window.kind != EMIT)
    order, group_ends = _order(level[updates], groups[window.kind[updates], window.node[updates]], kinds)
    updates = updates[order]
    kind, node, place = window.kind[updates], window.node[updates].astype(np.int64), n + 1

    def place_of(ref: NDArray[np.int64]) -> NDArray[np.int64]:
        """Place of the snapshot of each reference."""
        made_in_window = ref >= 0
        made_by = snapshot[np.where(made_in_window, ref, 0)] if len(window) else ref
        kept = np.where(elided[made_by], window.node[made_by].astype(np.int64), place + slot_of[made_by])
        return np.where(made_in_window, kept, place - 1 - ref)

    source, begun = place_of(window.ref[updates]), np.full(len(updates), n, dtype=np.int64)
    answered = kind == ON_ANSWER
    if answered.any():
        begun[answered] = place_of(window.begun[updates[answered]])
    source = np.where(kind == ON_CLOCK, node, source)
    keep, first_node, first_keep = places_kept(window.kind, window.node, snapshot, slot_of, place)
    return Waves(
        node=node,
        source=source,
        keep=keep[updates],
        part=window.part[updates].astype(np.int64),
        step=step[updates],
        begun=begun,
        event=updates,
        group_ends=group_ends,
        first_node=first_node,
        first_keep=first_keep,
        slots=slots,
        pending=pending,
    )


@njit(cache=True, nogil=True)
def _levels(
    kind: np.ndarray,
    node: np.ndarray,
    ref: np.ndarray,
    begun: np.ndarray,
    groups: np.ndarray,
    kinds: int,
    capacity: int,
    training: int,
    snapshot: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Wave of every update, and for every snapshot the wave that makes it and the last that reads it.

    ``snapshot`` becomes, for each EMIT, the first EMIT of the same version of the same row, which stands for
    all; −1 elsewhere.
    """
    operations, n = len(kind), groups.shape[1]
    level = np.zeros(operations, dtype=np.int64)
    step = np.zeros(operations, dtype=np.int64)
    made_at = np.zeros(operations, dtype=np.int64)
    read_until = np.full(operations, -1, dtype=np.int64)
    begun_until = np.full(operations, -1, dtype=np.int64)
    overwritten_at = np.full(operations, NEVER, dtype=np.int64)
    last_level = np.zeros(n, dtype=np.int64)
    updates = np.zeros(n, dtype=np.int64)
    version = np.full(n, -1, dtype=np.int64)  # the snapshot of the node's present row, if there is one
    room = np.full((1024, kinds), capacity, dtype=np.int64)
    onward = np.zeros((1024, kinds), dtype=np.int64)  # union-find: the next wave that may have room
    for wave in range(1024):
        onward[wave] = wave
    for e in range(operations):
        i = node[e]
        if kind[e] == EMIT:
            if version[i] < 0:
                version[i] = e
                made_at[e] = last_level[i]
            snapshot[e] = version[i]
            continue
        earliest, takes_in = last_level[i], kind[e] >= ON_RECEIPT and ref[e] >= 0
        if takes_in:
            earliest = max(earliest, made_at[snapshot[ref[e]]])
        wave, group = earliest + 1, groups[kind[e], i]
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
        if kind[e] == training:
            updates[i] += 1
        last_level[i] = wave
        if version[i] >= 0:
            overwritten_at[version[i]] = wave
            version[i] = -1
        if takes_in:
            made_by = snapshot[ref[e]]
            read_until[made_by] = max(read_until[made_by], wave)
        if kind[e] == ON_ANSWER and begun[e] >= 0:
            made_by = snapshot[begun[e]]
            begun_until[made_by] = max(begun_until[made_by], wave)
    # An update may still read the row that it overwrites itself, and that nobody else does.
    elided = (read_until < overwritten_at) & (begun_until <= overwritten_at)
    return level, step, made_at, np.maximum(read_until, begun_until), elided


@njit(cache=True, nogil=True)
def _order(level: np.ndarray, group: np.ndarray, kinds: int) -> tuple[np.ndarray, np.ndarray]:
    """Stable counting sort by (wave, group), and the end of each group of each wave."""
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
