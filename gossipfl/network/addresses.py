"""Addresses to dial: trusted ones, and hearsay, which may lead no further inward than its teller's own."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from gossipfl.settings.addresses import PeerAddress, Scope, parse_address, scope_of

__all__ = ["Hearsay", "PeerAddress", "Scope", "parse_address", "prefix_of", "scope_of"]


@dataclass(frozen=True, slots=True)
class Hearsay:
    """An address that another peer told.

    Parameters
    ----------
    address : str
    narrowest : Scope
        How far whatever it resolves to must reach at least: as far as the address of whoever told it. A peer on
        the internet so cannot make this one dial its own loopback, or its neighbours on the LAN.
    """

    address: str
    narrowest: Scope = Scope.GLOBAL

    def __str__(self) -> str:
        return self.address


@lru_cache(maxsize=4096)  # asked for with each exchange
def prefix_of(host: str) -> str:
    """Return the network that an IP address belongs to, as whoever holds it gets many: a /24, or a /48."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, 48), strict=False))
        address = address.ipv4_mapped
    return str(ipaddress.ip_network((address, 24), strict=False))
