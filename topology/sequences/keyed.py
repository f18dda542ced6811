"""Counter-based randomness: anyone who knows a seed and a round can compute any node's draw.

Nothing here has state. A draw is a hash of (seed, counters), so a peer can ask for the one number it needs while a
simulation asks for all of them, and both get the same. The hash is the finaliser of SplitMix64
(`topology.splitmix`). It is not secret: whoever knows the seed knows every draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isqrt

import numpy as np
import numpy.typing as npt

from topology.splitmix import GOLDEN, MASK, mixed, mixed_all

__all__ = ["KeyedPermutation", "derive_key", "draw", "draw_all", "sample_all", "sample_distinct"]

_ROUNDS = 16

_UInts = npt.NDArray[np.uint64]
_Ints = npt.NDArray[np.int64]


def draw(key: int, counter: int) -> int:
    """Return 64 uniform bits as an int, a function of `key` and `counter` alone."""
    return mixed((key + (counter + 1) * GOLDEN) & MASK)


def draw_all(key: int | _UInts, counters: npt.ArrayLike) -> _UInts:
    """Return `draw` for every counter (and key), uint64 of their common shape."""
    with np.errstate(over="ignore"):
        words = np.asarray(counters).astype(np.uint64) + np.uint64(1)
        words *= np.uint64(GOLDEN)
        words = words + np.asarray(key, dtype=np.uint64)
        return mixed_all(words)


def derive_key(seed: int, *counters: int) -> int:
    """Return a key for each combination of seed and counters, by hashing them one after another."""
    key = draw(seed & MASK, seed >> 64)
    for counter in counters:
        key = draw(key, counter)
    return key


def sample_distinct(key: int, count: int, below: int) -> list[int]:
    """Return `count` distinct integers in ``0 … below-1``, every set equally likely.

    References
    ----------
    Floyd's algorithm: Bentley and Floyd, "A sample of brilliance", Communications of the ACM 30, 1987.
    """
    chosen: list[int] = []
    for position in range(count):
        top = below - count + position
        candidate = draw(key, position) % (top + 1)
        chosen.append(top if candidate in chosen else candidate)
    return chosen


def sample_all(keys: _UInts, count: int, below: int) -> _Ints:
    """Return `sample_distinct` for every key, int64 [keys, count]."""
    chosen = np.empty((len(keys), count), dtype=np.int64)
    for position in range(count):
        top = below - count + position
        candidate = (draw_all(keys, position) % np.uint64(top + 1)).astype(np.int64)
        taken = (chosen[:, :position] == candidate[:, None]).any(axis=1)
        chosen[:, position] = np.where(taken, top, candidate)
    return chosen


@dataclass(frozen=True)
class KeyedPermutation:
    """A pseudo-random permutation of ``0 … n-1``, read at one place in O(1) or whole in O(n).

    Parameters
    ----------
    n : int
        Size of the domain, at least 1.
    key : int
        Picks the permutation; see `derive_key`.

    Notes
    -----
    A Feistel network on pairs (left, right) of about √n values each, by modular addition, leaving out what
    falls outside the domain by walking on; 16 rounds.

    References
    ----------
    Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002, sections 4 and 5.
    """

    n: int
    key: int

    @cached_property
    def _sides(self) -> tuple[int, int]:
        left = isqrt(max(self.n - 1, 0)) + 1
        return left, -(-self.n // left)

    def __call__(self, x: int) -> int:
        """Return the image of `x`."""
        left, right = self._sides
        while True:
            high, low = divmod(x, left)
            for r in range(0, _ROUNDS, 2):
                low = (low + draw(self.key, r * right + high)) % left
                high = (high + draw(~self.key & MASK, r * left + low)) % right
            x = high * left + low
            if x < self.n:
                return x

    def inverse(self, y: int) -> int:
        """Return the preimage of `y`."""
        left, right = self._sides
        while True:
            high, low = divmod(y, left)
            for r in range(_ROUNDS - 2, -1, -2):
                high = (high - draw(~self.key & MASK, r * left + low)) % right
                low = (low - draw(self.key, r * right + high)) % left
            y = high * left + low
            if y < self.n:
                return y

    def forward(self) -> _Ints:
        """Return the images of ``0 … n-1``, int64 [n]."""
        left, right = self._sides
        # The round functions take only about √n values each: tables make the pass over n cheap.
        low_shift = [self._table(self.key, r * right, right, left) for r in range(0, _ROUNDS, 2)]
        high_shift = [self._table(~self.key & MASK, r * left, left, right) for r in range(0, _ROUNDS, 2)]
        image = np.empty(self.n, dtype=np.int64)
        origin, x = np.arange(self.n), np.arange(self.n)
        while len(x):
            high, low = np.divmod(x, left)
            for shift_low, shift_high in zip(low_shift, high_shift, strict=True):
                low += shift_low[high]
                low -= left * (low >= left)
                high += shift_high[low]
                high -= right * (high >= right)
            x = high * left + low
            inside = x < self.n
            image[origin[inside]] = x[inside]
            origin, x = origin[~inside], x[~inside]
        return image

    @staticmethod
    def _table(key: int, start: int, count: int, modulus: int) -> _Ints:
        return (draw_all(key, np.arange(start, start + count)) % np.uint64(modulus)).astype(np.int64)

    def backward(self) -> _Ints:
        """Return the preimages of ``0 … n-1``, int64 [n]: the inverse of `forward`."""
        image = self.forward()
        origin = np.empty_like(image)
        origin[image] = np.arange(self.n)
        return origin
