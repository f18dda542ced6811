"""Field-by-field comparison of the settings that all members share, without revealing values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from gossipfl.errors import IncompatibleCharter, SettingError
from gossipfl.membership.codec import Reader, field, integer
from gossipfl.membership.statements import MOST_FIELDS

__all__ = [
    "MOST_FIELDS_BYTES",
    "canonical",
    "differing",
    "fingerprints",
    "read_fingerprints",
    "require_alike",
]

Fields = Mapping[str, str]
"""Values by name, in canonical JSON."""

#: Most bytes of a list of fingerprints.
MOST_FIELDS_BYTES: Final = 1 + MOST_FIELDS * (1 + 64 + 16)
_DIGEST_BYTES: Final = 16
_PREFIX: Final = b"gossipfl charter 1\n"


def canonical(values: Mapping[str, Any]) -> dict[str, str]:
    """Return values as canonical JSON (sorted keys, no spaces, ASCII), by name in ascending order.

    Raises
    ------
    SettingError
        A value is too long for a charter, or there are too many.
    """
    fields = {
        name: json.dumps(values[name], sort_keys=True, separators=(",", ":"), allow_nan=False, default=str)
        for name in sorted(values)
    }
    long = [name for name, value in fields.items() if len(value) > 512 or len(name) > 64]
    if long or len(fields) > MOST_FIELDS:
        raise SettingError(
            "the settings do not fit a charter",
            expected=f"at most {MOST_FIELDS} values of 512 characters",
            got=", ".join(long) or len(fields),
        )
    return fields


def fingerprints(fields: Fields, *, binding: bytes) -> bytes:
    """Encode name and digest of each field for one connection, so that digests cannot be looked up in a table.

    Parameters
    ----------
    binding : bytes
        Hash of the connection's handshake.
    """
    return integer(len(fields), 1) + b"".join(
        field(name.encode("ascii"), size=1) + _digest(name, fields[name], binding) for name in sorted(fields)
    )


def read_fingerprints(data: bytes) -> dict[str, bytes]:
    """Decode the result of `fingerprints`, or raise `MalformedStatement`."""
    reader = Reader(data, what="list of fingerprints")
    read: dict[str, bytes] = {}
    for _ in range(reader.integer(1, most=MOST_FIELDS)):
        name = reader.text(size=1, most=64)
        if read and name <= max(read):
            raise reader.wrong("its names are not in order")
        read[name] = reader.take(_DIGEST_BYTES)
    reader.end()
    return read


def differing(fields: Fields, theirs: Mapping[str, bytes], *, binding: bytes) -> list[str]:
    """Return the names of fields that differ, or that only one side has."""
    return [
        name
        for name in sorted({*fields, *theirs})
        if name not in fields or theirs.get(name) != _digest(name, fields[name], binding)
    ]


def require_alike(fields: Fields, theirs: bytes, *, binding: bytes) -> None:
    """Require that the other side's fingerprints equal this side's.

    Raises
    ------
    IncompatibleCharter
        Some differ; the message names them with this side's values.
    MalformedStatement
        The bytes are not fingerprints.
    """
    names = differing(fields, read_fingerprints(theirs), binding=binding)
    if names:
        shown = ", ".join(f"{name} (here {fields.get(name, 'not set')})" for name in names[:8])
        raise IncompatibleCharter(
            f"the other peer has different settings: {shown}{' and more' if len(names) > 8 else ''}",
            remedy="All peers of a network must share these: correct peer.toml of the one that is wrong.",
        )


def _digest(name: str, value: str, binding: bytes) -> bytes:
    content = _PREFIX + binding + field(name.encode("ascii"), size=1) + value.encode("ascii")
    return hashlib.sha256(content).digest()[:_DIGEST_BYTES]
