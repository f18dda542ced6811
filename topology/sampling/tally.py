"""Counts of how often each peer was named, in a fixed number of bytes, for one peer and for whole networks.

A peer's count is kept in the place that a keyed hash gives it: a count-min sketch (Cormode & Muthukrishnan,
J. Algorithms 55(1), 2005) of one row, never less than the true count, up to 255. Peers that share a place share a
count; which ones do nobody else knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from topology.sampling.packed import Flags, Views
from topology.sampling.ranks import Keys, rank, ranks

__all__ = [
    "FULL",
    "MOST",
    "OFTEN",
    "Tallies",
    "as_tally",
    "counted",
    "distinct",
    "is_repeated",
    "place",
    "places",
    "sums",
    "tallied",
]

MOST = 255
FULL = 8
"""Average count of the peers in a tally at which it is halved, so that newcomers come first for a while only."""
OFTEN = 3
"""Average count of the peers in a tally from which on it tells them apart."""

Tallies: TypeAlias = NDArray[np.uint8]
"""uint8 [n, width]: one tally a row."""


def place(digest: int, key: int, width: int) -> int:
    """Place of a peer in a tally."""
    return rank(digest, key) % width


def places(digests: Views, keys: Keys, width: int) -> NDArray[np.int64]:
    """Places of many peers, as `place`; the shapes of digests and keys are broadcast."""
    return (ranks(digests, keys) % np.uint64(width)).astype(np.int64)


def counted(tally: bytes, where: Iterable[int]) -> bytes:
    """Tally with one more at each of these places."""
    counts = bytearray(tally)
    for each in where:
        counts[each] = min(counts[each] + 1, MOST)
    return bytes(counts)


def as_tally(counts: bytes) -> NDArray[np.uint8]:
    """Counts of one tally as an array: uint8 [width]."""
    return np.frombuffer(counts, dtype=np.uint8)


def tallied(
    tallies: Tallies, rows: NDArray[np.int64], where: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count one more at each place of the given rows, in place.

    Returns
    -------
    more, first : int64 [n]
        By how much each tally grew, and in how many places for the first time.
    """
    flat, times = np.unique(rows * tallies.shape[1] + where, return_counts=True)
    rows, where = np.divmod(flat, tallies.shape[1])
    before = tallies[rows, where].astype(np.int64)
    after = np.minimum(before + times, MOST)
    tallies[rows, where] = after
    more = np.bincount(rows, weights=after - before, minlength=len(tallies)).astype(np.int64)
    return more, np.bincount(rows[before == 0], minlength=len(tallies))


def sums(tallies: Tallies) -> NDArray[np.int64]:
    """All that each tally counted: int64 [n]."""
    total: NDArray[np.int64] = tallies.sum(axis=-1, dtype=np.int64)
    return total


def distinct(tallies: Tallies) -> NDArray[np.int64]:
    """Places of each tally that count anything: int64 [n]."""
    taken: NDArray[np.int64] = np.count_nonzero(tallies, axis=-1)
    return taken


def is_repeated(total: NDArray[np.int64], places_taken: NDArray[np.int64]) -> Flags:
    """Whether peers were counted so often on average that the counts tell them apart: bool [n]."""
    repeated: Flags = total >= OFTEN * np.maximum(places_taken, 1)
    return repeated
