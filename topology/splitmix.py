"""The finaliser of SplitMix64: a bijection of 64-bit words whose outputs look random.

Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. Whoever knows a word
knows its output: nothing here is secret.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["GOLDEN", "MASK", "mixed", "mixed_all"]

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
"""Step from one input to the next: 2⁶⁴ over the golden ratio."""
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def mixed(word: int) -> int:
    """Return the output for one word from 0 to 2⁶⁴ − 1."""
    word = ((word ^ (word >> 30)) * _FIRST) & MASK
    word = ((word ^ (word >> 27)) * _SECOND) & MASK
    return word ^ (word >> 31)


def mixed_all(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return `mixed` of every word, computed in place where they are an array: uint64 of the same shape."""
    words ^= words >> np.uint64(30)
    words *= np.uint64(_FIRST)
    words ^= words >> np.uint64(27)
    words *= np.uint64(_SECOND)
    words ^= words >> np.uint64(31)
    return words
