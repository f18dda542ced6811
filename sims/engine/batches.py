"""The batches of `gossipfl.training.batch_positions`, compiled: equal sample for sample, many times faster.

Drawing batches with arrays costs as much as the gradient of a small model. This is the same function of
(seed, node, step), written out for one sample at a time; a test compares the two.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

__all__ = ["fill_batches"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_FEISTEL_ROUNDS = 8


@njit(cache=True)
def _mix(x: int) -> int:
    x = (x ^ (x >> uint64(30))) * _FIRST
    x = (x ^ (x >> uint64(27))) * _SECOND
    return x ^ (x >> uint64(31))


@njit(cache=True)
def _shift(x: int, bound: int, words: int) -> int:
    words = words * _FIRST
    words = (words ^ (words >> uint64(32))) * _SECOND
    words = (((words >> uint64(32)) * bound) >> uint64(32)) + x
    return words - bound if words >= bound else words


@njit(cache=True)
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


@njit(cache=True, nogil=True)
def fill_batches(
    samples: np.ndarray,
    seed: int,
    node: np.ndarray,
    updates: np.ndarray,
    steps: np.ndarray,
    offsets: np.ndarray,
    indices: np.ndarray,
    numbers: np.ndarray,
) -> None:
    """Write the samples of each node's next local steps into ``samples``, int64 ``[B, local_steps, S]``.

    Parameters
    ----------
    samples : ndarray
        Written to: indices into the pool.
    seed : int
        Of the training settings.
    node, updates : ndarray
        Nodes, and how many updates each has had since ``steps`` was counted, int64 ``[B]``. Nodes beyond the
        last one are padding and get sample 0.
    steps : ndarray
        Training steps of every node so far, int64 ``[N]``.
    offsets, indices, numbers : ndarray
        As in `gossipfl.training.NodeData`.
    """
    local_steps, size = samples.shape[1], samples.shape[2]
    start = _mix(uint64(seed) + _GOLDEN)
    for b in range(len(node)):
        if node[b] >= len(numbers):
            samples[b] = 0
            continue
        first = offsets[node[b]]
        count = offsets[node[b] + 1] - first
        if count == size:
            for k in range(local_steps):
                for s in range(size):
                    samples[b, k, s] = indices[first + s]
            continue
        step = steps[node[b]] + updates[b] * local_steps
        of_node = _mix(start ^ uint64(numbers[node[b]]))
        for k in range(local_steps):
            for s in range(size):
                place = (step + k) * size + s
                key = _mix(of_node ^ uint64(place // count))
                position = _permuted(uint64(place % count), uint64(count), key)
                samples[b, k, s] = indices[first + np.int64(position)]
