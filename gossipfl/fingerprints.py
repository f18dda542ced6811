"""Fingerprints of tasks: digests that tell, of two which differ, in which parts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

__all__ = ["PARTS", "differing_parts", "fingerprint_of"]

#: What two peers must have in common to learn together; a byte of each ends a fingerprint, in this order.
PARTS: Final = (
    "constants",
    "layout",
    "loss",
    "metrics",
    "name",
    "start",
    "statistics",
    "structure",
    "transform",
    "untrained",
)
_BYTES = 32
_WHOLE = _BYTES - len(PARTS)


def fingerprint_of(parts: Mapping[str, object]) -> bytes:
    """Return a fingerprint of 32 bytes: 22 of a SHA-256 of all parts, and one of each part's own.

    Parameters
    ----------
    parts : mapping of str to object
        Of `PARTS`, those that there are; as for JSON.
    """
    whole = hashlib.sha256(_json(parts)).digest()[:_WHOLE]
    return whole + b"".join(hashlib.sha256(_json(parts.get(name))).digest()[:1] for name in PARTS)


def differing_parts(one: bytes, other: bytes) -> tuple[str, ...]:
    """Name the parts in which two fingerprints differ; each that does is missed once in 256 times."""
    pairs = zip(PARTS, one[_WHOLE:], other[_WHOLE:], strict=True)
    return tuple(name for name, first, second in pairs if first != second)


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
