"""Addresses to dial: trusted ones, and hearsay, which must not point further inward than its source."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from gossipfl.settings.addresses import PeerAddress, Scope, parse_address, scope_of

__all__ = ["Hearsay", "PeerAddress", "Scope", "parse_address", "prefix_of", "scope_of"]


@dataclass(frozen=True, slots=True)
class Hearsay:
    """An address learned from another peer.

    Parameters
    ----------
    narrowest : Scope
        The narrowest scope that it may resolve to: that of the address of the peer it was learned from. A peer
        on the internet thus cannot make this one dial its own loopback interface or other hosts on its LAN.
    """

    address: str
    narrowest: Scope = Scope.GLOBAL

    def __str__(self) -> str:
        return self.address


@lru_cache(maxsize=4096)  # called for each exchange
def prefix_of(host: str) -> str:
    """Return the network of an IP address, all of which one party may well control: a /24, or a /48."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, 48), strict=False))
        address = address.ipv4_mapped
    return str(ipaddress.ip_network((address, 24), strict=False))
