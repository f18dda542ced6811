"""Names to IP addresses, with a bound on threads and time: a silent resolver must not eat them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

import trio

from gossipfl.errors import PeerUnreachable
from gossipfl.network.addresses import PeerAddress

__all__ = ["Resolver"]

_FAMILIES: Final = {"dns": socket.AF_UNSPEC, "dns4": socket.AF_INET, "dns6": socket.AF_INET6}
_MOST_RESULTS: Final = 4
_THREADS: Final = 4


class Resolver:
    """Resolves names in a few threads, of which those that hearsay names have their own.

    A look-up cannot be cancelled. One that is given up keeps its thread until the system's resolver gives up
    too; until then there are so many fewer look-ups at a time.

    Parameters
    ----------
    seconds : float
        For a look-up, the wait for a thread included.
    lookup : callable, optional
        Replaces `socket.getaddrinfo`.
    """

    def __init__(self, *, seconds: float, lookup: Callable[..., list[Any]] = socket.getaddrinfo) -> None:
        self._seconds = seconds
        self._lookup = lookup
        self._trusted = trio.CapacityLimiter(_THREADS)
        self._hearsay = trio.CapacityLimiter(_THREADS)

    async def resolve(self, address: PeerAddress, *, trusted: bool) -> list[str]:
        """Return the IP addresses of a name, a few at most.

        Raises
        ------
        PeerUnreachable
            There are none, or none came in time.
        """
        with trio.move_on_after(self._seconds):
            try:
                # The installed type stubs of trio are older than a parameter.
                found = await trio.to_thread.run_sync(  # type: ignore[call-arg]
                    self._look_up,
                    address,
                    abandon_on_cancel=True,
                    limiter=self._trusted if trusted else self._hearsay,
                )
            except (OSError, UnicodeError) as error:
                raise PeerUnreachable(f"the name {address.host} was not resolved", got=error) from error
            return list(dict.fromkeys(str(entry[4][0]) for entry in found))[:_MOST_RESULTS]
        raise PeerUnreachable(f"the name {address.host} was not resolved within {self._seconds:g} s")

    def _look_up(self, address: PeerAddress) -> list[Any]:
        return self._lookup(address.host, address.port, _FAMILIES[address.family], socket.SOCK_STREAM)
