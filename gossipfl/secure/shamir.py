"""Shamir's secret sharing over GF(2⁸), a polynomial for each byte of the secret.

References
----------
A. Shamir, "How to share a secret", CACM 22(11), 1979.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_SHARES", "recovered", "shared"]

MOST_SHARES: Final = 255
_POLYNOMIAL: Final = 0x11B  # x⁸ + x⁴ + x³ + x + 1, as in AES

Bytes = NDArray[np.uint8]


def _products() -> Bytes:
    """Products of all pairs of field elements, uint8 ``[256, 256]``."""
    table = np.zeros((256, 256), dtype=np.uint8)
    left = np.arange(256, dtype=np.uint16)
    for b in range(256):
        term: NDArray[np.uint16] = left.copy()
        product = np.zeros_like(left)
        for bit in range(8):
            if b >> bit & 1:
                product ^= term
            term = (2 * term ^ (term >> 7) * _POLYNOMIAL).astype(np.uint16)
        table[b] = product
    return table


_PRODUCT: Final = _products()
_INVERSE: Final = np.argmax(_PRODUCT == 1, axis=1).astype(np.uint8)


def shared(secret: bytes, *, shares: int, threshold: int, entropy: Callable[[int], bytes]) -> list[bytes]:
    """Split a secret into shares, each as long as itself; any `threshold` of them tell it, fewer tell nothing.

    Parameters
    ----------
    secret : bytes
    shares : int
        At most 255. Share number i, counted from 0, is the polynomials' value at i + 1.
    threshold : int
    entropy : callable
        Returns as many secret random bytes as asked for.

    Raises
    ------
    ValueError
        The counts are impossible.
    """
    if not 1 <= threshold <= shares <= MOST_SHARES:
        raise ValueError(f"expected 1 <= threshold <= shares <= {MOST_SHARES}, got {threshold} of {shares}")
    count = len(secret)
    random = np.frombuffer(entropy(count * (threshold - 1)), dtype=np.uint8)
    coefficients = [np.frombuffer(secret, dtype=np.uint8), *random.reshape(threshold - 1, count)]
    values = []
    for point in range(1, shares + 1):
        value = np.zeros(count, dtype=np.uint8)
        for coefficient in reversed(coefficients):
            value = _PRODUCT[value, point] ^ coefficient
        values.append(value.tobytes())
    return values


def recovered(shares: Mapping[int, bytes]) -> bytes:
    """Return the secret from exactly as many shares as its threshold, by their numbers, counted from 0.

    Wrong shares give a wrong secret: only comparison with a commitment can tell.

    Raises
    ------
    ValueError
        There are none, or they differ in length.
    """
    if len({len(share) for share in shares.values()}) != 1:
        raise ValueError("expected one or more shares of one length")
    points = {number: number + 1 for number in shares}
    secret = np.zeros(len(next(iter(shares.values()))), dtype=np.uint8)
    for number, share in shares.items():
        at_zero = np.uint8(1)  # Lagrange: Π x_m / (x_m − x_j); subtraction is exclusive or
        for other, point in points.items():
            if other != number:
                at_zero = _PRODUCT[at_zero, _PRODUCT[point, _INVERSE[point ^ points[number]]]]
        secret ^= _PRODUCT[np.frombuffer(share, dtype=np.uint8), at_zero]
    return secret.tobytes()
