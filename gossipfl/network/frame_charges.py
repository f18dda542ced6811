"""Charges for frames that carry little or nothing: a connection may send some of them a second."""

from __future__ import annotations

import trio

from gossipfl.errors import UselessTraffic
from gossipfl.network.limits import NetworkLimits
from gossipfl.network.rates import TokenBucket
from gossipfl.network.yamux.multiplexer import SMALL_BYTES, Multiplexer

__all__ = ["FrameCharges"]


class FrameCharges:
    """What one connection has left of the useless and small frames that it may send.

    Parameters
    ----------
    limits : NetworkLimits
    """

    def __init__(self, limits: NetworkLimits) -> None:
        self._limits = limits
        now, useless, small = (
            trio.current_time(),
            limits.useless_frames_per_second,
            limits.small_frames_per_second,
        )
        self._useless = TokenBucket(rate=useless, burst=10 * useless, now=now)
        self._small = TokenBucket(rate=small, burst=small, now=now)

    def charge(self, multiplexer: Multiplexer) -> None:
        """Charge the frames that a multiplexer has counted since, and set its counters to zero.

        Raises
        ------
        UselessTraffic
            If the other side has sent more of them than it may.
        """
        limits, now = self._limits, trio.current_time()
        useless, multiplexer.useless_frames = multiplexer.useless_frames, 0
        small, multiplexer.small_frames = multiplexer.small_frames, 0
        if useless and not self._useless.take(useless, now=now):
            raise UselessTraffic(
                "the peer sends too many frames that carry nothing",
                expected=f"at most {limits.useless_frames_per_second:g} a second",
            )
        if not self._small.take(small, now=now):
            raise UselessTraffic(
                "the peer sends too many small frames",
                expected=f"at most {limits.small_frames_per_second:g} of less than {SMALL_BYTES} bytes a second",
            )
