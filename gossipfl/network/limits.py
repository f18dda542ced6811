"""Limits on the resources of this peer that others may use, and on how long it waits for them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

from gossipfl.errors import SettingError
from gossipfl.network.yamux.headers import INITIAL_WINDOW, LARGEST_WINDOW

__all__ = ["NetworkLimits"]

_SHARES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLimits:
    """Limits of one host. The defaults suit tens of neighbours and models of up to about 100 MB.

    Parameters
    ----------
    connections, connections_per_peer, connections_per_address : int
        Simultaneous connections: in total, with one peer id, and with one remote address. Peers on the same
        machine or behind the same router share an address.
    handshakes : int
        Simultaneous inbound connections whose identity is not yet proven; at most half from one address.
    streams_per_connection : int
        Streams opened by the other side of a connection that are served simultaneously; as many more wait.
    streams_per_neighbour : int
        Simultaneous exchanges that this side starts with one neighbour; more wait for their turn.
    inbound_exchanges, inbound_exchanges_per_peer : int
        Simultaneous exchanges started by others: in total, and by one peer. More are refused as busy.
    inbound_bytes : int
        Total bytes of the frames of these exchanges; a single one is admitted whatever its size.
    receive_window : int
        Bytes a sender may have in flight on one stream while its reader waits for them.
    frames_per_second, bytes_per_second : float
        Average rates at which one peer may send; bursts of one second's worth are allowed.
    useless_frames_per_second : float
        Average rate of frames on one connection that carry nothing (pings, resets, empty records, the beginnings
        of streams); bursts of ten seconds' worth are allowed.
    small_frames_per_second : float
        Average rate of frames and records on one connection that carry less than 1 kB; bursts of one second's
        worth are allowed.
    slowest_bytes_per_second, grace_seconds : float
        Least average rate of an exchange; a slower one is cut after the grace period.
    longest_row_seconds : float
        Longest time for a row, beyond that for its exchange, however slow the link.
    offer_seconds : float
        Longest time that an offered row waits until the link is free; if that takes longer, it is declined.
    dials_per_second, dials_per_address : float
        Average rates of dials to addresses learned from other peers: in total, and to one address.
    dial_seconds : float
        Time from dialling, or accepting, to a proven identity.
    resolve_seconds : float
        Time for resolving a name.
    exchange_seconds : float
        Time for an exchange besides that for large rows, unless its caller specifies another.
    idle_seconds : float
        Time after which an unused connection or stream is closed.
    keepalive_seconds : float
        Silence on a connection after which the peer is pinged.
    silence_seconds : float
        Silence on a connection after which the peer is considered dead.
    offences_before_ban : int
        Protocol violations that are forgiven before a ban.
    first_ban_seconds, longest_ban_seconds : float
        Lengths of the first and the longest ban; each ban lasts twice as long as the previous one.

    Raises
    ------
    SettingError
        A limit is out of range, or contradicts another.
    """

    connections: int = 256
    connections_per_peer: int = 4
    connections_per_address: int = 128
    handshakes: int = 64
    streams_per_connection: int = 16
    streams_per_neighbour: int = 8
    inbound_exchanges: int = 64
    inbound_exchanges_per_peer: int = 8
    inbound_bytes: int = 1_000_000_000
    receive_window: int = 4 * 1024 * 1024
    frames_per_second: float = 200.0
    bytes_per_second: float = 1e9
    useless_frames_per_second: float = 100.0
    small_frames_per_second: float = 2000.0
    slowest_bytes_per_second: float = 4096.0
    grace_seconds: float = 3.0
    longest_row_seconds: float = 3600.0
    offer_seconds: float = 2.0
    dials_per_second: float = 4.0
    dials_per_address: float = 0.2
    resolve_seconds: float = 5.0
    dial_seconds: float = 10.0
    exchange_seconds: float = 60.0
    idle_seconds: float = 120.0
    keepalive_seconds: float = 5.0
    silence_seconds: float = 15.0
    offences_before_ban: int = 3
    first_ban_seconds: float = 10.0
    longest_ban_seconds: float = 3600.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            whole = field.type == "int"
            kind_is_right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
            if not kind_is_right or not math.isfinite(value) or value <= 0:
                expected = "a positive whole number" if whole else "a positive, finite number"
                raise SettingError(f"{field.name} is out of range", expected=expected, got=repr(value))
        if not INITIAL_WINDOW <= self.receive_window <= LARGEST_WINDOW:
            raise SettingError(
                "receive_window is out of range",
                expected=f"{INITIAL_WINDOW} to {LARGEST_WINDOW} bytes",
                got=self.receive_window,
            )
        self._require_order("connections_per_peer", "connections_per_address", "connections")
        self._require_order("inbound_exchanges_per_peer", "inbound_exchanges")
        self._require_order("keepalive_seconds", "silence_seconds")
        self._require_order("first_ban_seconds", "longest_ban_seconds")

    def row_seconds(self, size: int, bytes_per_second: float | None) -> float:
        """Return the time for a row of `size` bytes on a path of this throughput, None if that is not known yet.

        The path may be shared with several others, and slower than it was, but no slower than the limit.
        """
        least = self.slowest_bytes_per_second
        pace = least if bytes_per_second is None else max(least, bytes_per_second / _SHARES)
        return min(size / pace, self.longest_row_seconds)

    def _require_order(self, *names: str) -> None:
        values = [getattr(self, name) for name in names]
        if values != sorted(values):
            raise SettingError(
                "limits contradict each other",
                expected=" <= ".join(names),
                got=" and ".join(str(value) for value in values),
            )
