"""Keys under which members seal shares for one another, signed by the identities in a roster."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from gossipfl.errors import KeyUnknown, SumKeyForged
from gossipfl.membership.codec import Reader, integer
from gossipfl.secure.masks import KEY_BYTES, agreed

__all__ = ["SIGNATURE_BYTES", "KeyBook", "SealingKey", "SignedKey", "is_signed_by", "keys_digest"]

SIGNATURE_BYTES: Final = 64
_PREFIX: Final = b"gossipfl sum key 1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedKey:
    """A member's public key for one start, signed by its identity.

    Parameters
    ----------
    number : int
        The member's number in the roster.
    incarnation : int
        Number of its start.
    public : bytes, length 32
        X25519.
    signature : bytes, length 64
    """

    number: int
    incarnation: int
    public: bytes
    signature: bytes

    def to_bytes(self) -> bytes:
        """Encode the key, 108 bytes."""
        return integer(self.number, 4) + integer(self.incarnation, 8) + self.public + self.signature

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Decode a key; its signature is not verified."""
        return cls(
            number=reader.integer(4),
            incarnation=reader.integer(8, most=2**63 - 1),
            public=reader.take(KEY_BYTES),
            signature=reader.take(SIGNATURE_BYTES),
        )


class SealingKey:
    """A member's own key for one start; the private half exists only in memory.

    Parameters
    ----------
    number : int
    incarnation : int
    agreement : bytes, length 32
        Digest of everything that the members have in common.
    sign : callable
        Signs with the member's identity.
    """

    def __init__(
        self, *, number: int, incarnation: int, agreement: bytes, sign: Callable[[bytes], bytes]
    ) -> None:
        self._private = X25519PrivateKey.generate()
        self.number = number
        self.sign = sign
        public = self._private.public_key().public_bytes_raw()
        self.signed = SignedKey(
            number=number,
            incarnation=incarnation,
            public=public,
            signature=sign(_content(agreement, number, incarnation, public)),
        )
        self._agreed: dict[int, tuple[bytes, bytes]] = {}  # with the newest key of each member that was asked

    def agreed_with(self, other: SignedKey) -> bytes:
        """Return the secret that this key and another member's agree on."""
        public, secret = self._agreed.get(other.number, (b"", b""))
        if public != other.public:
            secret = agreed(self._private, other.public)
            self._agreed[other.number] = (other.public, secret)
        return secret


class KeyBook:
    """The newest key of each member that has shown one.

    Parameters
    ----------
    identities : mapping of int to bytes
        Ed25519 public key of each member of the roster, by number.
    agreement : bytes, length 32
    """

    def __init__(self, identities: Mapping[int, bytes], *, agreement: bytes) -> None:
        self._identities = identities
        self._agreement = agreement
        self._keys: dict[int, SignedKey] = {}

    def admit(self, key: SignedKey) -> None:
        """Keep a key, once its signature is verified.

        Raises
        ------
        SumKeyForged
            No member has this number, it did not sign the key, or it has shown a newer one.
        """
        known = self._keys.get(key.number)
        if key == known:
            return
        identity = self._identities.get(key.number)
        content = _content(self._agreement, key.number, key.incarnation, key.public)
        if identity is None or not is_signed_by(identity, content, key.signature):
            raise SumKeyForged(f"a key was not signed by member {key.number} of the roster for these rounds")
        if known is not None and key.incarnation <= known.incarnation:
            raise SumKeyForged(
                f"member {key.number} has shown a newer key",
                expected=f"start {known.incarnation} or later",
                got=f"start {key.incarnation}",
            )
        self._keys[key.number] = key

    def key_of(self, number: int) -> SignedKey:
        """Return a member's key.

        Raises
        ------
        KeyUnknown
        """
        try:
            return self._keys[number]
        except KeyError:
            raise KeyUnknown(f"no key of member {number} has been shown to this peer") from None

    def identity_of(self, number: int) -> bytes:
        """Return the Ed25519 public key of a member."""
        return self._identities[number]

    def __contains__(self, number: object) -> bool:
        return number in self._keys


def keys_digest(keys: Iterable[SignedKey]) -> bytes:
    """Return the digest, 16 bytes, of some members' keys in the order given."""
    return hashlib.sha256(b"gossipfl sum keys 1\n" + b"".join(key.public for key in keys)).digest()[:16]


def is_signed_by(identity: bytes, content: bytes, signature: bytes) -> bool:
    """Return whether an Ed25519 key made a signature."""
    try:
        Ed25519PublicKey.from_public_bytes(identity).verify(signature, content)
    except (InvalidSignature, ValueError):
        return False
    return True


def _content(agreement: bytes, number: int, incarnation: int, public: bytes) -> bytes:
    return _PREFIX + agreement + integer(number, 4) + integer(incarnation, 8) + public
