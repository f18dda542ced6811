"""Compilation of the event loop's functions."""

from __future__ import annotations

from numba import njit

__all__ = ["compiled"]

# These functions allocate nothing and keep nothing they are handed. Without numba's reference counting of the
# arrays in their arguments, and inlined into the loop, they run nine times as fast.
compiled = njit(cache=True, forceinline=True, _nrt=False)
