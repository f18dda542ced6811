"""Announcements: peers' addresses, signed by themselves.

Views pass them on. Only the holder of a peer id's key can issue one, and of two by the same peer the one with the
higher sequence wins, so only a peer itself can change its addresses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gossipfl.settings.addresses import public_key_of

__all__ = ["PeerDescriptor", "announce", "is_signed"]

_PREFIX: Final = b"gossipfl announcement\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerDescriptor:
    """Addresses of a peer, as listed in a view.

    Parameters
    ----------
    peer_id : str
        In base 58.
    addresses : tuple of str
        Multiaddresses, the most likely to be reachable first.
    age : int
        View exchanges since the peer itself issued it ("hop count" in Jelasity et al. 2007). Not signed.
    sequence : int
        Higher in each new announcement of the peer; by convention, milliseconds since 1970.
    signature : bytes, length 64
        Signature of the peer; empty in a descriptor from settings, which is never sent.
    """

    peer_id: str
    addresses: tuple[str, ...]
    age: int = 0
    sequence: int = 0
    signature: bytes = b""


def announce(
    peer_id: str, addresses: tuple[str, ...], *, sequence: int, sign: Callable[[bytes], bytes]
) -> PeerDescriptor:
    """Issue a peer's own announcement, signed by `sign` with the key of the peer id."""
    signature = sign(_signed(addresses, sequence))
    return PeerDescriptor(peer_id=peer_id, addresses=addresses, sequence=sequence, signature=signature)


def is_signed(descriptor: PeerDescriptor) -> bool:
    """Return whether the named peer has signed the descriptor, apart from its age."""
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key_of(descriptor.peer_id))
        key.verify(descriptor.signature, _signed(descriptor.addresses, descriptor.sequence))
    except (InvalidSignature, ValueError, OverflowError):  # a checkpoint may hold anything
        return False
    return True


def _signed(addresses: tuple[str, ...], sequence: int) -> bytes:
    return _PREFIX + sequence.to_bytes(8, "little") + "\n".join(addresses).encode("ascii")
