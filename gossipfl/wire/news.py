"""News of a network's membership, as members pass it on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gossipfl.wire.headers import Digest, Header, Statements
from gossipfl.wire.preamble import Kind

__all__ = ["News"]


@dataclass(frozen=True, slots=True, kw_only=True)
class News(Header):
    """Signed statements that the sender believes; `gossipfl.membership` interprets them.

    Parameters
    ----------
    known : bytes, length 32
        Digest of everything that the sender knows.
    statements : tuple of bytes
        Part of it.
    """

    kind: ClassVar[Kind] = Kind.NEWS
    known: Digest
    statements: Statements = ()
