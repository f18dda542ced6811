"""Signed statements: by network keys, or by an issuer whose certificate network keys have signed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gossipfl.errors import CertificateForged
from gossipfl.membership.codec import KEY_BYTES, Kind, Reader, field, integer
from gossipfl.membership.network_keys import MOST_KEYS, Network, Rotation
from gossipfl.membership.statements import Body, Certificate, Charter, Revocation

__all__ = ["MOST_STATEMENT_BYTES", "Signature", "Signed", "Signer"]

#: Most bytes of a statement with its signatures.
MOST_STATEMENT_BYTES: Final = 16 * 1024
_MOST_BODY: Final = 12 * 1024
_MOST_CERTIFICATE: Final = 1024
_SIGNATURE_BYTES: Final = 64
_PREFIX: Final = b"gossipfl statement 1\n"
_BODIES: Final[dict[int, type[Body]]] = {
    each.kind: each for each in (Network, Certificate, Revocation, Rotation, Charter)
}


class Signer(Protocol):
    """A key that can sign: a network key, or a peer's identity."""

    @property
    def public_key(self) -> bytes:
        """Ed25519 public key, 32 bytes."""

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature of `data`."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature of a statement, and its public key."""

    key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A statement with its signatures.

    Parameters
    ----------
    signatures : tuple of Signature
        At most 8, by different keys in ascending order; not yet verified.
    issuer : Signed or None
        Certificate of the issuer that signed; None if network keys did.
    """

    body: Body
    signatures: tuple[Signature, ...] = ()
    issuer: Signed | None = None

    @property
    def signed_bytes(self) -> bytes:
        """The bytes that are signed."""
        return _PREFIX + integer(self.body.kind, 1) + self.body.to_bytes()

    def signed_by(self, signers: Iterable[Signer]) -> Signed:
        """Return the statement with further signatures."""
        content = self.signed_bytes
        added = {each.public_key: Signature(each.public_key, each.sign(content)) for each in signers}
        signatures = {each.key: each for each in self.signatures} | added
        return replace(self, signatures=tuple(signatures[key] for key in sorted(signatures)))

    def require_signature(self, signature: Signature) -> None:
        """Verify one signature.

        Raises
        ------
        CertificateForged
            Its key did not make it.
        """
        try:
            Ed25519PublicKey.from_public_bytes(signature.key).verify(signature.signature, self.signed_bytes)
        except (InvalidSignature, ValueError):
            raise CertificateForged("a signature was not made by the key that it names") from None

    def to_bytes(self) -> bytes:
        """Encode the statement."""
        return b"".join(
            (
                integer(self.body.kind, 1),
                field(self.body.to_bytes(), size=2),
                integer(len(self.signatures), 1),
                *(each.key + each.signature for each in self.signatures),
                field(b"" if self.issuer is None else self.issuer.to_bytes(), size=2),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a statement; nothing is verified.

        Raises
        ------
        MalformedStatement
            The bytes are not a statement.
        """
        reader = Reader(data, what="statement")
        if len(data) > MOST_STATEMENT_BYTES:
            raise reader.wrong("it is too long")
        kind = reader.integer(1, least=Kind.NETWORK, most=Kind.CHARTER)
        body = _BODIES[kind].from_bytes(reader.field(size=2, most=_MOST_BODY))
        signatures = tuple(
            Signature(reader.take(KEY_BYTES), reader.take(_SIGNATURE_BYTES))
            for _ in range(reader.integer(1, most=MOST_KEYS))
        )
        if any(a.key >= b.key for a, b in pairwise(signatures)):
            raise reader.wrong("its signatures are not in order")
        enclosed = reader.field(size=2, most=_MOST_CERTIFICATE)
        reader.end()
        issuer = cls.from_bytes(enclosed) if enclosed else None
        if issuer is not None and (
            kind not in (Kind.CERTIFICATE, Kind.REVOCATION)
            or not isinstance(issuer.body, Certificate)
            or issuer.issuer is not None
        ):
            raise reader.wrong("it does not enclose an issuer's certificate")
        return cls(body=body, signatures=signatures, issuer=issuer)
