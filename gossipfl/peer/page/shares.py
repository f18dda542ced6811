"""Shares of the addresses from which a page is read: none takes all the time of the others, and of the peer."""

from __future__ import annotations

import ipaddress
from typing import Final

import trio

from gossipfl.network.rates import TokenBucket
from gossipfl.recent import RecentMap

__all__ = ["Shares", "party_of"]

_PER_SECOND: Final = 10.0
_AT_ONCE: Final = 40.0
_MOST_PARTIES: Final = 1024
_LOOK_SECONDS: Final = 0.1


class Shares:
    """An allowance of requests and of connections for each party. Whoever exceeds it waits."""

    def __init__(self) -> None:
        self._of: RecentMap[str, TokenBucket] = RecentMap(_MOST_PARTIES)

    async def take(self, party: str) -> None:
        """Wait until a party may make one more request or connection."""
        now = trio.current_time()
        share = self._of.get(party) or TokenBucket(rate=_PER_SECOND, burst=_AT_ONCE, now=now)
        self._of[party] = share
        while not share.take(1, now=trio.current_time()):
            await trio.sleep(_LOOK_SECONDS)


def party_of(address: str) -> str:
    """Return what is one party's: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
