"""Address conversion between the library and the host."""

from __future__ import annotations

from collections.abc import Sequence

from multiaddr import Multiaddr

from gossipfl.errors import InvalidAddress
from gossipfl.network.addresses import Hearsay, Scope, parse_address
from gossipfl.network.reachability import Reachability

__all__ = ["Listened", "advertised", "hearsay"]


class Listened:
    """The addresses a host listens at, as one of the library's listeners.

    Parameters
    ----------
    reachability : Reachability
        The host's.
    """

    def __init__(self, reachability: Reachability) -> None:
        self._reachability = reachability

    def get_addrs(self) -> tuple[Multiaddr, ...]:
        """Return the addresses of this machine at which the host listens."""
        return tuple(Multiaddr(str(each)) for each in self._reachability.own())


def advertised(reachability: Reachability, known: Sequence[Multiaddr]) -> list[Multiaddr]:
    """Return the library's addresses, then the host's own; only the configured ones, if there are any.

    Those at relays are left out: the library takes them for the relays' own.
    """
    announced = [Multiaddr(str(each)) for each in reachability.addresses() if each.relay is None]
    if reachability.is_announced:
        return announced
    return list({str(each): each for each in (*known, *announced)}.values())


def hearsay(addresses: Sequence[Multiaddr], narrowest: Scope) -> list[Hearsay]:
    """Return those of the library's addresses that are over TCP, as hearsay."""
    learned = []
    for each in addresses:
        try:
            learned.append(Hearsay(str(parse_address(str(each), smallest_port=1)), narrowest))
        except InvalidAddress:
            continue
    return learned
