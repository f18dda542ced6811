"""Collectives of all shards: sums, largest numbers, and everybody's rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sims.sharding.partition import Partition
from sims.sharding.post import Post

__all__ = ["Collectives"]

_IN_PIECES = 1 << 20  # bytes above which those saved are worth a second message to everybody


class Collectives:
    """What all shards find out together. Everybody calls the same methods in the same order.

    Parameters
    ----------
    partition : Partition
    shard : int
    post : Post
    """

    def __init__(self, partition: Partition, shard: int, post: Post) -> None:
        self._partition, self._shard, self._post = partition, shard, post

    def sum(self, own: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add one row of each shard, ``[K]``, in the order of the shards: everybody has the same, to the bit.

        Short rows go to everybody, S − 1 messages of 8 K bytes. Of long ones everybody adds an S-th
        (reduce-scatter) and tells it all (all-gather): 2 (S − 1) messages of 8 K / S bytes.
        """
        shards = self._partition.shards
        if len(own) * 8 * (1 - 2 / shards) <= _IN_PIECES:
            return _added(self._of_all([own] * shards))
        piece = _added(self._of_all(np.array_split(own, shards)))
        return np.concatenate(self._of_all([piece] * shards))

    def largest(self, own: int) -> int:
        """The largest of one number of each shard."""
        return max(int(each[0]) for each in self._of_all([np.array([own])] * self._partition.shards))

    def rows(self, own: NDArray[Any]) -> NDArray[Any]:
        """Rows of all nodes, ``[N, D]``, of those of each shard's, ``[B, D]``."""
        whole = np.empty((len(self._partition.shard), *own.shape[1:]), dtype=own.dtype)
        for shard, part in enumerate(self._of_all([own] * self._partition.shards)):
            whole[self._partition.members(shard)] = part
        return whole

    def _of_all(self, told: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """Tell each shard an array, and return what each tells this one."""
        others = [each for each in range(len(told)) if each != self._shard]
        found = self._post.exchanged(((each, (told[each],)) for each in others), others)
        found[self._shard] = (told[self._shard],)
        return [found[each][0] for each in range(len(told))]


def _added(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    total = parts[0].copy()
    for each in parts[1:]:
        total += each
    return total
