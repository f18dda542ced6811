"""Rate limits for each peer."""

from __future__ import annotations

from typing import Final

from gossipfl.errors import RateLimited
from gossipfl.recent import RecentMap

__all__ = ["PeerRates", "SenderRates", "TokenBucket"]

_MOST_PEERS: Final = 4096
_FEWEST_PER_SECOND: Final = 4.0


class TokenBucket:
    """Allows `rate` units a second on average, and bursts of `burst` units, by default one second's worth.

    While the bucket is not empty, a request of any size is allowed and may leave a debt. A message larger than a
    burst thus passes, at the price of a longer wait.

    Parameters
    ----------
    rate : float
        Units a second.
    now : float
        Seconds of the caller's monotonic clock, as in all methods.
    burst : float, optional
        Units.
    """

    def __init__(self, *, rate: float, now: float, burst: float | None = None) -> None:
        self._rate = rate
        self._burst = self._level = rate if burst is None else burst
        self._updated = now

    def take(self, units: float, *, now: float) -> bool:
        """Take `units` unless the bucket is empty; return whether they were taken."""
        self._level = min(self._burst, self._level + (now - self._updated) * self._rate)
        self._updated = now
        if self._level <= 0:
            return False
        self._level -= units
        return True


class PeerRates:
    """Limits on each peer's frames and bytes a second."""

    def __init__(self, *, frames_per_second: float, bytes_per_second: float) -> None:
        self._frames_per_second = frames_per_second
        self._bytes_per_second = bytes_per_second
        self._buckets: RecentMap[str, tuple[TokenBucket, TokenBucket]] = RecentMap(_MOST_PEERS)

    def charge(self, peer_id: str, size: int, *, now: float) -> None:
        """Charge a frame of `size` bytes to a peer.

        Raises
        ------
        RateLimited
            The peer has exceeded its rate.
        """
        buckets = self._buckets.get(peer_id) or (
            TokenBucket(rate=self._frames_per_second, now=now),
            TokenBucket(rate=self._bytes_per_second, now=now),
        )
        self._buckets[peer_id] = buckets
        frames, volume = buckets
        if not frames.take(1, now=now):
            raise RateLimited(
                "the peer sends too often", expected=f"at most {self._frames_per_second:g} frames a second"
            )
        if not volume.take(size, now=now):
            raise RateLimited(
                "the peer sends too much", expected=f"at most {self._bytes_per_second:g} bytes a second"
            )


class SenderRates:
    """A limit on each sender's messages of one kind a second, with bursts of four seconds' worth.

    Parameters
    ----------
    per_second : float
        Raised to 4 if lower.
    what : str
        Name of the messages, for the error.
    """

    def __init__(self, per_second: float, *, what: str) -> None:
        self._per_second = max(_FEWEST_PER_SECOND, per_second)
        self._what = what
        self._buckets: RecentMap[str, TokenBucket] = RecentMap(_MOST_PEERS)

    def charge(self, sender: str, *, now: float) -> None:
        """Charge a message to its sender.

        Raises
        ------
        RateLimited
            The sender has exceeded its rate.
        """
        rate = self._per_second
        bucket = self._buckets.get(sender) or TokenBucket(rate=rate, burst=4 * rate, now=now)
        self._buckets[sender] = bucket
        if not bucket.take(1, now=now):
            raise RateLimited(f"the peer sends too many {self._what}", expected=f"at most {rate:g} a second")
