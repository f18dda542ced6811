"""News of a network's membership, as members pass them on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from gossipfl.errors import MalformedFrame, MessageTooLarge
from gossipfl.wire.limits import Limits
from gossipfl.wire.preamble import Kind
from gossipfl.wire.schema import Fields, glimpse

__all__ = ["News"]


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Statements that the sender believes, each signed; what they say is none of this layer's business.

    Parameters
    ----------
    known : bytes, length 32
        Digest of all that the sender knows.
    statements : tuple of bytes
        Some of it.
    """

    kind: ClassVar[Kind] = Kind.NEWS
    known: bytes
    statements: tuple[bytes, ...] = ()

    @classmethod
    def from_fields(cls, fields: object, *, limits: Limits) -> Self:
        """Read the fields, or raise `MalformedFrame` or `MessageTooLarge`."""
        read = Fields(fields, keys=("known", "statements"))
        statements = read.array("statements", most=limits.statements)
        for each in statements:
            if type(each) is not bytes:
                raise MalformedFrame("a statement is not bytes", expected="bin", got=glimpse(each))
            if len(each) > limits.statement_bytes:
                raise MessageTooLarge(
                    "a statement is too long",
                    expected=f"at most {limits.statement_bytes} bytes",
                    got=len(each),
                )
        return cls(known=read.digest("known"), statements=tuple(statements))

    def to_fields(self) -> Mapping[str, object]:
        """Give the fields, of msgpack's types only."""
        return {"known": self.known, "statements": list(self.statements)}
