"""Supersteps of a window: operations that shards can do without hearing from one another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sims.compiler.operations import ON_ANSWER, ON_RECEIPT
from sims.compiler.timeline import Window

__all__ = ["Plan", "numbered", "plan_of"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What a shard does in a window, superstep by superstep.

    Snapshots have numbers: 0 … first − 1 were made before the window, ``first + e`` is that of its operation e.

    Parameters
    ----------
    window : Window
    first : int
    steps : int
        Number of supersteps, the same for all shards.
    step : ndarray
        The superstep of each operation, int64 ``[E]``.
    own : ndarray
        The shard's own operations, by superstep and then in order, int64.
    bounds : ndarray
        Where among these each superstep begins, int64 ``[steps + 1]``.
    sent, received : ndarray
        Superstep at whose start it travels, the other shard, and the number of each snapshot that crosses, in this
        order, int64 ``[..., 3]``.
    until : ndarray
        The last superstep at whose end a snapshot that is held here is still needed, int64 ``[first + E]``.
    holders : ndarray
        The shard that holds each snapshot, int64 ``[first + E]``.
    """

    window: Window
    first: int
    steps: int
    step: Ints
    own: Ints
    bounds: Ints
    sent: Ints
    received: Ints
    until: Ints
    holders: Ints


def plan_of(window: Window, *, first_holders: Ints, shard_of: Ints, shard: int) -> Plan:
    """Cut a window where a model is taken in that was made in another shard since the last cut.

    All shards find the same cuts. An operation is as early as what it needs: one superstep after a snapshot of
    another shard was made, else in that of its node's operation before.

    Parameters
    ----------
    window : Window
    first_holders : ndarray
        The shard that holds each snapshot from before the window, int64 ``[first]``.
    shard_of : ndarray
        The shard of each node, int64 ``[N]``.
    shard : int
    """
    first, own_of = len(first_holders), shard_of[window.node]
    step = _supersteps(window.kind, window.node, window.ref, shard_of)
    steps = int(step.max(initial=0)) + 1
    holders = np.concatenate([first_holders, own_of])
    taken = np.flatnonzero(window.kind >= ON_RECEIPT)
    answered = np.flatnonzero(window.kind == ON_ANSWER)
    begun = window.begun[answered] if len(window.begun) else np.zeros(0, dtype=np.int64)
    reads, refs = np.concatenate([taken, answered]), np.concatenate([window.ref[taken], begun])
    numbers, at, readers = numbered(refs, first), step[reads], own_of[reads]
    here, crosses = holders[numbers] == shard, holders[numbers] != readers
    until = np.full(len(holders), -1, dtype=np.int64)
    # What is read or sent in a superstep is there at the end of the one before.
    np.maximum.at(until, numbers[here], at[here] - 1)
    until[numbered(window.pending, first)] = steps
    mine = np.flatnonzero(own_of == shard)
    mine = mine[np.argsort(step[mine], kind="stable")]
    leaving, coming = here & crosses, (readers == shard) & crosses
    return Plan(
        window=window,
        first=first,
        steps=steps,
        step=step,
        own=mine,
        bounds=np.searchsorted(step[mine], np.arange(steps + 1)),
        sent=_sorted(at[leaving], readers[leaving], numbers[leaving]),
        received=_sorted(at[coming], holders[numbers[coming]], numbers[coming]),
        until=until,
        holders=holders,
    )


def numbered(refs: Ints, first: int) -> Ints:
    """Numbers of snapshots, of references to them: operations of the window, or −1 − number."""
    return np.where(refs >= 0, first + refs, -1 - refs)


def _sorted(*columns: Ints) -> Ints:
    return np.unique(np.stack(columns, axis=1), axis=0)


@njit(cache=True)
def _supersteps(kind: NDArray[np.uint8], node: NDArray[np.int32], ref: Ints, shard_of: Ints) -> Ints:
    step, reached = np.zeros(len(kind), dtype=np.int64), np.zeros(len(shard_of), dtype=np.int64)
    for e in range(len(kind)):
        i = node[e]
        if kind[e] >= ON_RECEIPT and ref[e] >= 0:
            made = ref[e]
            crosses = shard_of[node[made]] != shard_of[i]
            reached[i] = max(reached[i], step[made] + (1 if crosses else 0))
        step[e] = reached[i]
    return step
