"""Sums of integers of which nobody may be missing: pairwise masks that cancel when all are added.

Where members cannot drop out, no shares are needed, and the sum is public: whatever passes statements on (common
statistics, contributions) can carry masked vectors in them.

Examples
--------
>>> from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
>>> private = {name: X25519PrivateKey.generate() for name in (b"a", b"b", b"c")}
>>> public = {name: key.public_key().public_bytes_raw() for name, key in private.items()}
>>> told = [
...     masked_integers([1, -2], own=name, private=private[name], public=public, session=bytes(32), field_bytes=8)
...     for name in private
... ]
>>> sum_of_masked(told, field_bytes=8)
[3, -6]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from gossipfl.secure.masks import add_stream, agreed, derived
from gossipfl.secure.ring import RingRow

__all__ = ["masked_integers", "masked_row", "sum_of_masked"]


def masked_integers(
    vector: Sequence[int],
    *,
    own: bytes,
    private: X25519PrivateKey,
    public: Mapping[bytes, bytes],
    session: bytes,
    field_bytes: int,
    purpose: bytes = b"summary",
) -> tuple[int, ...]:
    """Mask a member's integers for each of the others.

    Parameters
    ----------
    vector : sequence of int
        As long as everybody's. All members' sums must lie within half of the field, on either side of 0.
    own : bytes
        The member's name.
    private : X25519PrivateKey
        Of this sum alone, or of one start of the member.
    public : mapping of bytes to bytes
        Public key of every member by name; the member's own is not used.
    session : bytes, length 32
        Digest of all that makes the sum this one: members, keys, what is summed. Two vectors under one session
        show their difference.
    field_bytes : int
        Bytes of an integer, a multiple of 4; sums are modulo 2 to the power of 8 times that.
    purpose : bytes

    Returns
    -------
    tuple of int
        Not negative, below the modulus; uniform to everybody who lacks one of the masks.
    """
    sums = list(vector)
    for other, key in public.items():
        if other == own:
            continue
        secret = agreed(private, key)
        stream = np.zeros(len(sums) * field_bytes // 4, dtype="<u4")
        add_stream(stream, derived(secret, session=session, purpose=purpose + b"".join(sorted((other, own)))))
        data, sign = stream.tobytes(), 1 if own < other else -1
        for place in range(len(sums)):
            field = data[place * field_bytes : (place + 1) * field_bytes]
            sums[place] += sign * int.from_bytes(field, "little")
    return tuple(each % 2 ** (8 * field_bytes) for each in sums)


def masked_row(
    row: RingRow,
    *,
    own: bytes,
    private: X25519PrivateKey,
    public: Mapping[bytes, bytes],
    session: bytes,
    purpose: bytes,
) -> RingRow:
    """Mask a member's row of many small integers for each of the others; all rows add up to the plain sum.

    Parameters
    ----------
    row : ndarray, uint32 or uint64 ``[K]``
    own, private, public, session, purpose
        As for `masked_integers`.
    """
    masked = row.copy()
    for other, key in public.items():
        if other != own:
            stream = derived(
                agreed(private, key), session=session, purpose=purpose + b"".join(sorted((other, own)))
            )
            add_stream(masked, stream, subtract=own > other)
    return masked


def sum_of_masked(vectors: Iterable[Sequence[int]], *, field_bytes: int) -> list[int]:
    """Return the sums of all members' integers, from the masked ones of all.

    Raises
    ------
    ValueError
        They differ in length.
    """
    modulus = 2 ** (8 * field_bytes)
    sums = [sum(column) % modulus for column in zip(*vectors, strict=True)]
    return [each - modulus if 2 * each >= modulus else each for each in sums]
