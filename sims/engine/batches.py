"""The batches of `gossipfl.training.batch_positions`, compiled: equal sample for sample, many times faster.

Drawing batches with arrays costs as much as the gradient of a small model. This is the same function of
(seed, node, step), written out for one sample at a time; a test compares the two.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import cfunc, njit, types, uint64
from numba.core.ccallback import CFunc

__all__ = ["drawing", "gather_batches"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_FEISTEL_ROUNDS = 8


@njit(cache=True, forceinline=True, _nrt=False)
def _mix(x: int) -> int:
    x = (x ^ (x >> uint64(30))) * _FIRST
    x = (x ^ (x >> uint64(27))) * _SECOND
    return x ^ (x >> uint64(31))


@njit(cache=True, forceinline=True, _nrt=False)
def _shift(x: int, bound: int, key: int) -> int:
    words = key * _FIRST
    words = (words ^ (words >> uint64(32))) * _SECOND
    words = (((words >> uint64(32)) * bound) >> uint64(32)) + x
    return words - bound if words >= bound else words


@njit(cache=True, forceinline=True, _nrt=False)
def _permuted(position: int, count: int, key: int) -> int:
    a = uint64(np.ceil(np.sqrt(np.float64(count))))
    b = (count + a - uint64(1)) // a
    while True:
        quotient, remainder = position // b, position % b
        for round_number in range(0, _FEISTEL_ROUNDS, 2):
            word = key + uint64(round_number) * _GOLDEN
            quotient = _shift(quotient, a, word + remainder)
            remainder = _shift(remainder, b, word + _GOLDEN + quotient)
        position = quotient * b + remainder
        if position < count:
            return position


@njit(cache=True, inline="always", _nrt=False)
def _of_node(
    node: int, updates: int, local_steps: int, start: int, steps: Any, offsets: Any, numbers: Any
) -> tuple[int, int, int, int]:
    """Of a node's next draws: its first sample, how many it has, its step, and its key."""
    first = offsets[node]
    step = steps[node] + updates * local_steps
    return first, offsets[node + 1] - first, step, _mix(start ^ uint64(numbers[node]))


@njit(cache=True, forceinline=True, _nrt=False)
def _sample(
    indices: np.ndarray, first: int, count: int, step: int, s: int, size: int, of_node: int
) -> np.int64:
    """Sample number s of the batch of a step, of the samples of a node."""
    if count <= size:  # all it has, and as many of these once more as it lacks
        return indices[first + s % count]
    place = step * size + s
    key = _mix(of_node ^ uint64(place // count))
    return indices[first + np.int64(_permuted(uint64(place % count), uint64(count), key))]


@njit(cache=True, nogil=True, _nrt=False)
def gather_batches(
    batches: tuple[np.ndarray, ...],
    pool: tuple[np.ndarray, ...],
    local_steps: int,
    seed: int,
    node: np.ndarray,
    updates: np.ndarray,
    steps: np.ndarray,
    offsets: np.ndarray,
    indices: np.ndarray,
    numbers: np.ndarray,
) -> None:
    """Gather the samples of each node's next local steps.

    Parameters
    ----------
    batches : tuple of ndarray
        Written to: of each tensor of a sample ``[B · local_steps · S, bytes of it]``, uint8.
    pool : tuple of ndarray
        All samples, ``[n, bytes]`` of each tensor, uint8.
    local_steps : int
    seed : int
        Of the training settings.
    node, updates : ndarray
        Nodes, and how many updates each has had since ``steps`` was counted, int64 ``[B]``. Nodes beyond the
        last one are padding, and what was there stays.
    steps : ndarray
        Training steps of every node so far, int64 ``[N]``.
    offsets, indices, numbers : ndarray
        As in `gossipfl.training.NodeData`.
    """
    size = len(batches[0]) // (len(node) * local_steps)
    start = _mix(uint64(seed) + _GOLDEN)
    for b in range(len(node)):
        if node[b] >= len(numbers):
            continue
        first, count, step, of_node = _of_node(
            node[b], updates[b], local_steps, start, steps, offsets, numbers
        )
        for k in range(local_steps):
            for s in range(size):
                sample = _sample(indices, first, count, step + k, s, size, of_node)
                place_in_batch = (b * local_steps + k) * size + s
                for leaf in range(len(pool)):
                    for byte in range(pool[leaf].shape[1]):
                        batches[leaf][place_in_batch, byte] = pool[leaf][sample, byte]


@cache
def drawing() -> CFunc:
    """The same draws for callers without the interpreter, as `blocks.cpp` declares them."""
    ints = types.CPointer(types.int64)
    numbers = (types.int64,) * 4
    signature = types.void(ints, *numbers, ints, ints, ints, ints, ints, ints, types.int64)
    return cfunc(signature, cache=True)(_draw)


def _draw(
    samples: Any,
    rows: int,
    local_steps: int,
    size: int,
    seed: int,
    node: Any,
    updates: Any,
    steps: Any,
    offsets: Any,
    indices: Any,
    numbers: Any,
    nodes: int,
) -> None:
    """Number of each sample of the next local steps, ``[B, local_steps, S]``; nothing for padding."""
    start = _mix(uint64(seed) + _GOLDEN)
    for b in range(rows):
        if node[b] >= nodes:
            continue
        first, count, step, of_node = _of_node(
            node[b], updates[b], local_steps, start, steps, offsets, numbers
        )
        for k in range(local_steps):
            for s in range(size):
                place = (b * local_steps + k) * size + s
                samples[place] = _sample(indices, first, count, step + k, s, size, of_node)
