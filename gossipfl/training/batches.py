"""Which samples a node trains on at a step: a pure function of (seed, node, step).

Every epoch visits all of a node's samples once, in a new order. The order is a keyed permutation that can be
evaluated at single positions, so no order is ever stored: a peer with one node and a simulator with a million
draw the same batches, at any step, in any sequence of calls.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["batch_positions", "draw_seeds"]

UInt64Array = NDArray[np.uint64]
_FEISTEL_ROUNDS = 4


def _mix(x: UInt64Array) -> UInt64Array:
    """Finaliser of SplitMix64 (Steele, Lea & Flood 2014): a bijection of 64-bit words that avalanches."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _key(seed: int, nodes: UInt64Array, epochs: UInt64Array) -> UInt64Array:
    golden = np.uint64(0x9E3779B97F4A7C15)
    key = _mix(np.full_like(nodes, np.uint64(seed % 2**64)) + golden)
    key = _mix(key ^ _mix(nodes + golden))
    return _mix(key + _mix(epochs + golden))


def _permute(positions: UInt64Array, counts: UInt64Array, keys: UInt64Array) -> UInt64Array:
    """Keyed permutation of {0 … count−1}, evaluated elementwise.

    A Feistel network on the smallest even number of bits that holds ``count`` (Luby & Rackoff 1988), walked
    along its cycle until it lands below ``count`` (Black & Rogaway 2002): fewer than four tries on average.
    """
    half_bits = (np.ceil(np.log2(np.maximum(counts, np.uint64(2)).astype(np.float64))) + 1) // 2
    half = half_bits.astype(np.uint64)
    mask = (np.uint64(1) << half) - np.uint64(1)
    result = positions.copy()
    pending = np.ones(result.shape, dtype=bool)
    while pending.any():
        left, right = result[pending] >> half[pending], result[pending] & mask[pending]
        for round_number in range(_FEISTEL_ROUNDS):
            scrambled = _mix(right ^ _mix(keys[pending] + np.uint64(round_number))) & mask[pending]
            left, right = right, left ^ scrambled
        result[pending] = (left << half[pending]) | right
        pending[pending] = result[pending] >= counts[pending]
    return result


def batch_positions(
    *, seed: int, nodes: NDArray[np.int64], steps: NDArray[np.int64], counts: NDArray[np.int64], size: int
) -> NDArray[np.int64]:
    """Positions of a batch among each node's own samples.

    Step ``s`` of a node takes positions ``s·size … (s+1)·size − 1`` of the endless sequence of its shuffled
    epochs. A batch that crosses the end of an epoch may hold a sample twice.

    Parameters
    ----------
    seed : int
        Seed of the run.
    nodes, steps, counts : ndarray
        Number of each node, its own step counter, and how many samples it has (at least ``size``): int64,
        shape ``[B]``.
    size : int
        Samples in a batch, S. Where it equals a node's count the batch is all it has, in order: the gradient
        of the whole shard needs no shuffling.

    Returns
    -------
    ndarray
        Shape ``[B, S]``, int64, each row within ``0 … counts[b] − 1``.
    """
    in_order = np.arange(size, dtype=np.int64)
    stream = steps[:, None] * size + in_order
    shape = stream.shape
    whole = counts == size
    if whole.all():
        return np.broadcast_to(in_order, shape).copy()
    epochs, positions = np.divmod(stream, counts[:, None])
    per_sample_counts = np.broadcast_to(counts[:, None], shape).astype(np.uint64)
    with np.errstate(over="ignore"):
        keys = _key(seed, np.broadcast_to(nodes[:, None], shape).astype(np.uint64), epochs.astype(np.uint64))
        shuffled = _permute(positions.astype(np.uint64), per_sample_counts, keys).astype(np.int64)
    shuffled[whole] = in_order
    return shuffled


def draw_seeds(*, seed: int, nodes: NDArray[np.int64], steps: NDArray[np.int64]) -> list[int]:
    """One 63-bit seed for each (seed, node, step), for whatever a module itself draws at random."""
    with np.errstate(over="ignore"):
        keys = _key(seed, nodes.astype(np.uint64), steps.astype(np.uint64) + np.uint64(1 << 63))
    return [int(key) for key in keys >> np.uint64(1)]
