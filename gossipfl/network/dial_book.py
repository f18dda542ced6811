"""Rate limits and back-off for dialling addresses learned by hearsay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gossipfl.errors import PeerUnreachable
from gossipfl.network.rates import TokenBucket
from gossipfl.recent import RecentMap

__all__ = ["DialBook"]

_MOST_ENTRIES: Final = 4096
_FIRST_PAUSE_SECONDS: Final = 5.0
_LONGEST_PAUSE_SECONDS: Final = 3600.0

Endpoint = tuple[str, int]


@dataclass(slots=True)
class _Entry:
    bucket: TokenBucket
    failures: int = 0
    retry_at: float = 0.0


class DialBook:
    """Decides which addresses may be dialled now. Times are seconds of a monotonic clock.

    After a failed negotiation an address is not dialled for 5 s, doubled with each further failure up to an
    hour. The failures are forgotten when a peer answers there, or after as long again without another one.

    Parameters
    ----------
    dials_per_second : float
        To all addresses together.
    dials_per_address : float
        Dials a second to any one address.
    burst : float
        Dials to one address that may follow each other immediately.
    """

    def __init__(self, *, dials_per_second: float, dials_per_address: float, burst: float = 3.0) -> None:
        self._total = TokenBucket(rate=dials_per_second, burst=4 * dials_per_second, now=0.0)
        self._per_address = dials_per_address
        self._burst = burst
        self._entries: RecentMap[Endpoint, _Entry] = RecentMap(_MOST_ENTRIES)

    def admit(self, endpoint: Endpoint, *, now: float) -> None:
        """Count a dial.

        Raises
        ------
        PeerUnreachable
            No peer answered there recently, or there were too many dials.
        """
        entry = self._entry(endpoint, now)
        if now < entry.retry_at:
            raise PeerUnreachable(
                f"no peer answered recently at {endpoint[0]} port {endpoint[1]}",
                got=f"{entry.failures} failed negotiations, next attempt in {entry.retry_at - now:.0f} s",
            )
        if not entry.bucket.take(1, now=now):
            raise PeerUnreachable(f"{endpoint[0]} port {endpoint[1]} is dialled too often")
        if not self._total.take(1, now=now):
            raise PeerUnreachable("addresses learned from other peers are dialled too often")

    def failed(self, endpoint: Endpoint, *, now: float) -> None:
        """Record that something accepted the connection there, but is not a peer."""
        entry = self._entry(endpoint, now)
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(entry.failures, 16))
        if now - entry.retry_at > 2 * pause:
            entry.failures, pause = 0, _FIRST_PAUSE_SECONDS
        entry.failures += 1
        entry.retry_at = now + pause

    def succeeded(self, endpoint: Endpoint) -> None:
        """Record that a peer answered there."""
        self._entries.pop(endpoint, None)

    def _entry(self, endpoint: Endpoint, now: float) -> _Entry:
        entry = self._entries.get(endpoint)
        if entry is None:
            entry = _Entry(TokenBucket(rate=self._per_address, burst=self._burst, now=now))
        self._entries[endpoint] = entry
        return entry
