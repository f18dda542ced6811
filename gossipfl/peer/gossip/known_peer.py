"""Entries of the address book and the acquaintances, and their form in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gossipfl.errors import InvalidAddress
from gossipfl.network import Hearsay, Scope, parse_address, prefix_of
from gossipfl.wire import PeerDescriptor, is_signed

__all__ = ["KnownPeer", "descriptor_from", "descriptor_values", "require_sound"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPeer:
    """Another peer as this one knows it.

    Parameters
    ----------
    descriptor : PeerDescriptor
        Its identity and addresses, and their age.
    failures : int
        Consecutive failed exchanges with it.
    retry_at : float
        Earliest time to choose it again, in seconds of the event loop's clock.
    configured : tuple of str
        Addresses in the settings, if they name it; such a bootstrap peer is never forgotten.
    narrowest : Scope
        Narrowest scope of a learned address that may be dialled: that of the peer it was learned from.
    """

    descriptor: PeerDescriptor
    failures: int = 0
    retry_at: float = 0.0
    configured: tuple[str, ...] = ()
    narrowest: Scope = Scope.GLOBAL

    @property
    def peer_id(self) -> str:
        """Its identity."""
        return self.descriptor.peer_id

    @property
    def is_bootstrap(self) -> bool:
        """Whether the settings name it."""
        return bool(self.configured)

    @property
    def addresses(self) -> tuple[str | Hearsay, ...]:
        """Addresses to try: first the learned ones, then the configured ones, which hearsay never replaces."""
        heard = (
            Hearsay(address, self.narrowest)
            for address in self.descriptor.addresses
            if address not in self.configured
            and parse_address(address, circuits=True).scope >= self.narrowest
        )
        return (*heard, *self.configured)

    @property
    def network(self) -> str:
        """The network of its first announced address, or the host if that is a name; "" without addresses."""
        for address in self.descriptor.addresses[:1]:
            parsed = parse_address(address, circuits=True)
            return parsed.host if parsed.is_name else prefix_of(parsed.host)
        return ""


def require_sound(descriptor: PeerDescriptor) -> None:
    """Require that an announcement is signed by the peer that it names, and that its addresses can be dialled.

    Raises
    ------
    InvalidAddress
    """
    if not is_signed(descriptor):
        raise InvalidAddress(
            "the announcement is not signed by the peer that it names", got=descriptor.peer_id
        )
    for address in descriptor.addresses:
        parse_address(address, smallest_port=1, circuits=True)


def descriptor_values(peer: KnownPeer) -> dict[str, Any]:
    """Return a peer's entry as plain values."""
    return {
        "peer_id": peer.peer_id,
        "addresses": list(peer.descriptor.addresses),
        "age": peer.descriptor.age,
        "sequence": peer.descriptor.sequence,
        "signature": peer.descriptor.signature.hex(),
        "scope": int(peer.narrowest),
    }


def descriptor_from(values: Mapping[str, Any]) -> tuple[PeerDescriptor, Scope]:
    """Return the descriptor and scope from `descriptor_values`; only their types are checked.

    Raises
    ------
    KeyError, TypeError, ValueError
        A value is missing, or has the wrong type.
    """
    descriptor = PeerDescriptor(
        peer_id=str(values["peer_id"]),
        addresses=tuple(map(str, values["addresses"])),
        age=int(values["age"]),
        sequence=int(values["sequence"]),
        signature=bytes.fromhex(values["signature"]),
    )
    return descriptor, Scope(values["scope"])
