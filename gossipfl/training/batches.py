"""Batches: the samples a node trains on at a step, a pure function of (seed, node, step).

Every epoch visits all of a node's samples once, in a new order. The order is a keyed permutation that can be
evaluated at single positions, so no order is ever stored: a peer with one node and a simulator with a million
draw the same batches, at any step, in any sequence of calls. It uses integers only (and one correctly rounded
square root), so every platform draws the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["batch_positions", "draw_seeds"]

UInt64Array = NDArray[np.uint64]
_FEISTEL_ROUNDS = 8  # with four, some pairs of neighbours in small shards came measurably too often
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


def _mix(x: UInt64Array) -> UInt64Array:
    """Finaliser of SplitMix64 (Steele, Lea & Flood 2014): a bijection of 64-bit words that avalanches."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _key(seed: int, nodes: UInt64Array, epochs: UInt64Array) -> UInt64Array:
    key = _mix(np.asarray([seed % 2**64], dtype=np.uint64) + _GOLDEN)
    return _mix(_mix(key ^ nodes) ^ epochs)  # one after another: (seed 0, node 1) is not (seed 1, node 0)


def _shift(x: UInt64Array, bound: UInt64Array, words: UInt64Array) -> UInt64Array:
    """Add to ``x`` a number drawn from keyed words, modulo ``bound`` (which is below 2**32)."""
    words = words * np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> _HALF
    words *= np.uint64(0x94D049BB133111EB)
    words >>= _HALF  # the best mixed bits
    words *= bound
    words >>= _HALF
    words += x
    wrapped: UInt64Array = np.minimum(words, words - bound)  # a negative difference would be a huge one
    return wrapped


def _permute(positions: UInt64Array, counts: UInt64Array, keys: UInt64Array) -> UInt64Array:
    """Keyed permutation of {0 … count−1}, evaluated elementwise.

    A generalised Feistel network on {0 … a−1} × {0 … b−1} with a·b the smallest such rectangle around
    ``count``, walked along its cycle until it lands below ``count`` (Black & Rogaway 2002, Section 5): hardly
    ever more than one try, as a·b < count + a.
    """
    a = np.ceil(np.sqrt(counts.astype(np.float64))).astype(np.uint64)
    b = (counts + a - np.uint64(1)) // a
    quotients, remainders = np.divmod(positions, b)
    for round_number in range(0, _FEISTEL_ROUNDS, 2):
        key = keys + np.uint64(round_number) * _GOLDEN
        quotients = _shift(quotients, a, key + remainders)
        remainders = _shift(remainders, b, key + _GOLDEN + quotients)
    result: UInt64Array = quotients * b + remainders
    outside = result >= counts
    if outside.any():
        result[outside] = _permute(result[outside], counts[outside], keys[outside])
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
    whole = counts == size
    if whole.all():
        return np.broadcast_to(in_order, (len(nodes), size)).copy()
    stream = steps[:, None] * size + in_order
    epochs, positions = np.divmod(stream, counts[:, None])
    with np.errstate(over="ignore"):
        keys = _key(seed, nodes[:, None].astype(np.uint64), epochs.astype(np.uint64))
        per_sample_counts = np.broadcast_to(counts[:, None].astype(np.uint64), stream.shape)
        shuffled = _permute(positions.astype(np.uint64), per_sample_counts, keys).astype(np.int64)
    shuffled[whole] = in_order
    return shuffled


def draw_seeds(*, seed: int, nodes: NDArray[np.int64], steps: NDArray[np.int64]) -> list[int]:
    """One 63-bit seed for each (seed, node, step), for whatever a module itself draws at random."""
    with np.errstate(over="ignore"):
        keys = _key(seed, nodes.astype(np.uint64), steps.astype(np.uint64) + np.uint64(1 << 63))
    return [int(key) for key in keys >> np.uint64(1)]
