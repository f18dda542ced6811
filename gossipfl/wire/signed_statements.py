"""Checks that all signed statements about tables share: size, schema and network, and signatures."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gossipfl.errors import MalformedStatement
from gossipfl.statistics.schema import MOST_CATEGORIES
from gossipfl.statistics.summary import MOST_NAME_BYTES

__all__ = ["MOST_SUMMARY_BYTES", "Fields", "opened", "signed", "signed_by"]

MOST_SUMMARY_BYTES: Final = 65_535
_SIGNATURE_BYTES: Final = 64


class Fields:
    """Bytes of a statement that are read field by field.

    Attributes
    ----------
    left : bytes
        Those not read yet.
    """

    def __init__(self, data: bytes) -> None:
        self.left = data

    def take(self, size: int) -> bytes:
        """Read so many bytes.

        Raises
        ------
        MalformedStatement
            There are fewer.
        """
        if len(self.left) < size:
            raise MalformedStatement("a summary is cut short")
        taken, self.left = self.left[:size], self.left[size:]
        return taken

    def integer(self, size: int, *, is_signed: bool = False) -> int:
        """Read an integer of so many bytes."""
        return int.from_bytes(self.take(size), "little", signed=is_signed)

    def categories(self) -> int:
        """Read how many categories follow.

        Raises
        ------
        MalformedStatement
            There are too many.
        """
        count = self.integer(1)
        if count > MOST_CATEGORIES:
            raise MalformedStatement(
                "a summary has too many categories", expected=f"at most {MOST_CATEGORIES}", got=count
            )
        return count

    def name(self, *, after: str | None) -> str:
        """Read the name of a category, which must come after the one before it.

        Raises
        ------
        MalformedStatement
            It is too long, no text, or out of order.
        """
        size = self.integer(1)
        if size > MOST_NAME_BYTES:
            raise MalformedStatement(
                "a summary has a name that is too long", expected=f"at most {MOST_NAME_BYTES} bytes"
            )
        try:
            name = self.take(size).decode()
        except UnicodeDecodeError:
            raise MalformedStatement("a summary has a name that is no text") from None
        if after is not None and name <= after:
            raise MalformedStatement("a summary has categories out of order")
        return name


def signed(body: bytes, *, prefix: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """Return a statement with its signature.

    Raises
    ------
    MalformedStatement
        It would be too long.
    """
    if len(body) + _SIGNATURE_BYTES > MOST_SUMMARY_BYTES:
        raise MalformedStatement(
            "the summary of this table is too long",
            expected=f"at most {MOST_SUMMARY_BYTES} bytes",
            got=len(body) + _SIGNATURE_BYTES,
            remedy="Leave out columns of many categories.",
        )
    return body + sign(prefix + body)


def opened(
    data: bytes, *, header: struct.Struct, digest: bytes, network: bytes
) -> tuple[tuple[Any, ...], Fields]:
    """Return the header of a statement, which begins with key, network and digest, and the fields behind it.

    Parameters
    ----------
    digest : bytes, length 32
        Of the schema, or of what else all members must have in common.

    Raises
    ------
    MalformedStatement
        It has a wrong length, or is of another schema or network.
    """
    if not header.size + _SIGNATURE_BYTES <= len(data) <= MOST_SUMMARY_BYTES:
        raise MalformedStatement(
            "a summary has a wrong length", expected=f"at most {MOST_SUMMARY_BYTES} bytes", got=len(data)
        )
    head = header.unpack_from(data)
    _, theirs, told, *_ = head
    if told != digest or theirs != network:
        raise MalformedStatement("a summary is of another schema or another network")
    return head, Fields(data[header.size : -_SIGNATURE_BYTES])


def signed_by(key: bytes, data: bytes, *, prefix: bytes) -> None:
    """Require that a statement is signed by its member.

    Raises
    ------
    MalformedStatement
    """
    body, signature = data[:-_SIGNATURE_BYTES], data[-_SIGNATURE_BYTES:]
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, prefix + body)
    except (InvalidSignature, ValueError) as error:
        raise MalformedStatement("a summary is not signed by its member") from error
