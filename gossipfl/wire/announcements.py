"""Announcements: peers' addresses, signed by themselves.

A view passes them on. Only the holder of a peer id's key can issue one, and of two by the same peer the one with
the higher sequence wins: so only a peer itself can move its address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gossipfl.settings.addresses import public_key_of
from gossipfl.wire.messages import PeerDescriptor

__all__ = ["announce", "is_signed"]

_PREFIX: Final = b"gossipfl announcement\n"


def announce(
    peer_id: str, addresses: tuple[str, ...], *, sequence: int, sign: Callable[[bytes], bytes]
) -> PeerDescriptor:
    """Make a peer's own announcement.

    Parameters
    ----------
    peer_id : str
    addresses : tuple of str
        Multiaddresses, the most likely to be reachable first.
    sequence : int
        Greater than that of any earlier announcement.
    sign : callable
        Signs bytes with the key of the peer id.
    """
    signature = sign(_signed(addresses, sequence))
    return PeerDescriptor(peer_id=peer_id, addresses=addresses, sequence=sequence, signature=signature)


def is_signed(descriptor: PeerDescriptor) -> bool:
    """Return whether the named peer has signed the descriptor, apart from its age."""
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key_of(descriptor.peer_id))
        key.verify(descriptor.signature, _signed(descriptor.addresses, descriptor.sequence))
    except (InvalidSignature, ValueError, OverflowError):  # of a checkpoint, anything may be wrong
        return False
    return True


def _signed(addresses: tuple[str, ...], sequence: int) -> bytes:
    return _PREFIX + sequence.to_bytes(8, "little") + "\n".join(addresses).encode("ascii")
