"""Keyed random orders: the same peers in the same order wherever the key is the same.

The rank of a peer under a key is the finaliser of SplitMix64 (`topology.splitmix`) of its digest
and the key: one function for integers of Python and for arrays. Who does not know the key, or the digests,
which a peer makes with a secret of its own, cannot choose names that rank low.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topology.splitmix import GOLDEN, MASK, mixed, mixed_all

__all__ = ["Keys", "key_of", "keys_of", "rank", "ranks", "salted"]

Keys = NDArray[np.uint64]

_SALT = 0xD1B54A32D192ED03


def rank(digest: int, key: int) -> int:
    """Rank of a peer under a key, from 0 to 2⁶⁴ − 1."""
    return mixed((digest * GOLDEN + key) & MASK)


def ranks(digests: NDArray[np.int32] | NDArray[np.int64] | Keys, keys: Keys) -> Keys:
    """Ranks of many peers, as `rank`; the shapes of digests and keys are broadcast."""
    return mixed_all(digests.astype(np.uint64) * np.uint64(GOLDEN) + keys)


def key_of(draw: float) -> int:
    """Key from a uniform draw."""
    return rank(int(draw * 2**53), 0)


def keys_of(draws: NDArray[np.float64]) -> Keys:
    """Keys from uniform draws, as `key_of`."""
    return ranks((draws * 2**53).astype(np.uint64), np.zeros(1, dtype=np.uint64))


def salted(key: int, salt: int) -> int:
    """Another key, made of one: for a second order in the same period."""
    return (key + salt * _SALT) & MASK
