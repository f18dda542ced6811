"""Waves cut into blocks of one fixed size, the last of each padded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sims.compiler.waves import Waves

__all__ = ["Blocks", "block_size", "card_block_size", "cut", "padded", "wave_width"]

_CACHE_BYTES = 640_000
_WORTH_A_CALL = 1 << 22
_CARD_BYTES, _CARD_ROWS = 1 << 27, 1 << 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Blocks in order of waves.

    Parameters
    ----------
    columns : ndarray
        int64 ``[blocks, 6, B]``: node, source, part, keep, step and begun, as in `Waves`. Padding has node,
        source, keep and begun ``N``.
    group : list of int
        Group of each block.
    wave_ends : list of int
        Ends of the blocks of each wave.
    """

    columns: NDArray[np.int64]
    group: list[int]
    wave_ends: list[int]


def block_size(*, row_bytes: int, nodes: int) -> int:
    """Rows in a block: few enough that their intermediate results stay in the cache.

    A power of two within 1 … 64, whatever the number of threads; with few nodes no more than a wave of theirs
    fills. But up to 16 rows of 4 MiB together, and four of up to 16 MiB each: with
    fewer, calls of operators cost more than misses of the cache.
    """
    fewest = min(16, max(4, _WORTH_A_CALL // row_bytes)) if row_bytes <= 1 << 24 else 1
    fits = max(1, min(64, max(fewest, _CACHE_BYTES // row_bytes), nodes // 5))
    return 1 << (fits.bit_length() - 1)


def card_block_size(*, row_bytes: int, nodes: int) -> int:
    """Rows in a block on a card: enough that its kernels outlast their launches, as far as waves are so wide."""
    return max(1, min(_CARD_ROWS, _CARD_BYTES // row_bytes, nodes // 5))


def wave_width(*, nodes: int, block: int, threads: int = 1) -> int:
    """Most updates in a wave: somewhat below what dependencies would allow.

    A multiple of the block size; where several threads share every wave, of as many blocks as they are, so that
    none has to wait for the last of them. With few nodes that may be a third of them: waves are not quite full.
    """
    at_once = block * threads
    return max(1, (nodes // 5 + (threads > 1) * at_once // 2) // at_once) * at_once


def cut(waves: Waves, *, size: int, n: int) -> Blocks:
    """Cut waves into blocks of ``size`` updates."""
    group_ends = waves.group_ends.reshape(-1)
    starts = np.concatenate([[0], group_ends[:-1]]).astype(np.int64)
    per_cell = -(-(group_ends - starts) // size)
    total = int(per_cell.sum())
    kinds = waves.group_ends.shape[1]
    columns = np.full((total, 6, size), n, dtype=np.int64)
    columns[:, 2] = columns[:, 4] = 0
    group = np.repeat(np.tile(np.arange(kinds), len(waves)), per_cell)
    _fill(
        columns,
        starts,
        group_ends,
        per_cell,
        waves.node,
        waves.source,
        waves.part,
        waves.keep,
        waves.step,
        waves.begun,
    )
    return Blocks(
        columns=columns,
        group=group.tolist(),
        wave_ends=per_cell.reshape(-1, kinds).sum(axis=1).cumsum().tolist(),
    )


def padded(columns: NDArray[np.int64], *, size: int, n: int) -> NDArray[np.int64]:
    """Cut the columns ``[6, U]`` of one group's updates into blocks, ``[blocks, 6, size]``."""
    blocks = -(-columns.shape[1] // size)
    whole = np.full((6, blocks * size), n, dtype=np.int64)
    whole[[2, 4]] = 0
    whole[:, : columns.shape[1]] = columns
    return np.ascontiguousarray(whole.reshape(6, blocks, size).transpose(1, 0, 2))


@njit(cache=True, nogil=True)
def _fill(
    columns: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    per_cell: NDArray[np.int64],
    node: NDArray[np.int64],
    source: NDArray[np.int64],
    part: NDArray[np.int64],
    keep: NDArray[np.int64],
    step: NDArray[np.int64],
    begun: NDArray[np.int64],
) -> None:
    size, first = columns.shape[2], 0
    for cell in range(len(starts)):
        for u in range(starts[cell], ends[cell]):
            block, place = first + (u - starts[cell]) // size, (u - starts[cell]) % size
            columns[block, 0, place] = node[u]
            columns[block, 1, place] = source[u]
            columns[block, 2, place] = part[u]
            columns[block, 3, place] = keep[u]
            columns[block, 4, place] = step[u]
            columns[block, 5, place] = begun[u]
        first += per_cell[cell]
