"""Name resolution with bounded threads and time, whatever the system's resolver does."""

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
    """Resolves names in a few threads, separate ones for names learned by hearsay.

    A lookup cannot be cancelled: one that times out occupies its thread until the system's resolver returns.

    Parameters
    ----------
    seconds : float
        Time for a lookup, including the wait for a thread.
    lookup : callable, optional
        Replaces `socket.getaddrinfo`.
    """

    def __init__(self, *, seconds: float, lookup: Callable[..., list[Any]] = socket.getaddrinfo) -> None:
        self._seconds = seconds
        self._lookup = lookup
        self._trusted = trio.CapacityLimiter(_THREADS)
        self._hearsay = trio.CapacityLimiter(_THREADS)

    async def resolve(self, address: PeerAddress, *, trusted: bool) -> list[str]:
        """Return at most a few IP addresses of a name.

        Raises
        ------
        PeerUnreachable
            The name has none, or was not resolved in time.
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
