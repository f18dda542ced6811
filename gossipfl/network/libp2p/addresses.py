"""Addresses between the library and the host."""

from __future__ import annotations

from collections.abc import Sequence

from multiaddr import Multiaddr

from gossipfl.errors import InvalidAddress
from gossipfl.network.addresses import Hearsay, Scope, parse_address
from gossipfl.network.reachability import Reachability

__all__ = ["Listened", "advertised", "hearsay"]


class Listened:
    """What a host listens at, as one of the library's listeners.

    Parameters
    ----------
    reachability : Reachability
        The host's.
    """

    def __init__(self, reachability: Reachability) -> None:
        self._reachability = reachability

    def get_addrs(self) -> tuple[Multiaddr, ...]:
        """Return the addresses of this machine at which it listens."""
        return tuple(Multiaddr(str(each)) for each in self._reachability.own())


def advertised(reachability: Reachability, known: Sequence[Multiaddr]) -> list[Multiaddr]:
    """Return where a host is reached, after what the library knows; only what is configured, if anything is."""
    announced = [Multiaddr(str(each)) for each in reachability.addresses()]
    if reachability.is_announced:
        return announced
    return list({str(each): each for each in (*known, *announced)}.values())


def hearsay(addresses: Sequence[Multiaddr], narrowest: Scope) -> list[Hearsay]:
    """Return those of the library's addresses that are over TCP, as told by others."""
    told = []
    for each in addresses:
        try:
            told.append(Hearsay(str(parse_address(str(each), smallest_port=1)), narrowest))
        except InvalidAddress:
            continue
    return told
