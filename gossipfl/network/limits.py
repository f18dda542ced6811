"""Limits on what others may use of this peer, and on how long it waits for them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from gossipfl.errors import SettingError
from gossipfl.network.yamux.headers import INITIAL_WINDOW, LARGEST_WINDOW

__all__ = ["NetworkLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLimits:
    """Limits of one host. The defaults suit tens of neighbours and models of up to some 100 MB.

    Parameters
    ----------
    connections, connections_per_peer, connections_per_address : int
        Connections at a time: in all, with one peer id, and with one remote address. Peers that share a
        machine, or a router, share an address.
    handshakes : int
        Inbound connections at a time that have not yet proved who they are; half of them from one address.
    streams_per_connection : int
        Streams of the other side of a connection that are served at a time; as many more wait for their turn.
    streams_per_neighbour : int
        Exchanges under way at a time with one neighbour, started by this side; more wait for their turn.
    inbound_exchanges, inbound_exchanges_per_peer : int
        Exchanges under way at a time, started by others: in all, and by one peer. More are refused as busy.
    inbound_bytes : int
        Bytes of the frames of these exchanges, together; one alone is let through whatever its size.
    receive_window : int
        Bytes a sender may have under way on one stream while its reader waits for them.
    frames_per_second, bytes_per_second : float
        What one peer may send, on average; a second's worth may come at once.
    useless_frames_per_second : float
        Frames of one connection that carry nothing (pings, resets, empty records); ten times as many at once.
    slowest_bytes_per_second, grace_seconds : float
        An exchange that others start and that, after the grace, moved less than this in the mean is cut.
    dials_per_second, dials_per_address : float
        Dials to addresses that other peers told of: in all, and at one address. Some may come at once.
    dial_seconds : float
        From dialling, or accepting, to a connection with a proven identity.
    resolve_seconds : float
        For resolving a name.
    exchange_seconds : float
        A whole exchange, unless its caller says otherwise.
    idle_seconds : float
        An unused connection, or stream, is closed after this.
    keepalive_seconds : float
        Silence on a connection after which the peer is asked for a sign of life.
    silence_seconds : float
        Silence on a connection after which the peer is taken for dead.
    offences_before_ban : int
        Breaches of the protocol that are forgiven before a ban.
    first_ban_seconds, longest_ban_seconds : float
        The first ban, and the longest; each ban lasts twice as long as the one before.

    Raises
    ------
    SettingError
        A limit is out of its range, or contradicts another.
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
    slowest_bytes_per_second: float = 4096.0
    grace_seconds: float = 3.0
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
                raise SettingError(f"{field.name} is out of its range", expected=expected, got=repr(value))
        if not INITIAL_WINDOW <= self.receive_window <= LARGEST_WINDOW:
            raise SettingError(
                "receive_window is out of its range",
                expected=f"{INITIAL_WINDOW} to {LARGEST_WINDOW} bytes",
                got=self.receive_window,
            )
        self._require_order("connections_per_peer", "connections_per_address", "connections")
        self._require_order("inbound_exchanges_per_peer", "inbound_exchanges")
        self._require_order("keepalive_seconds", "silence_seconds")
        self._require_order("first_ban_seconds", "longest_ban_seconds")

    def _require_order(self, *names: str) -> None:
        values = [getattr(self, name) for name in names]
        if values != sorted(values):
            raise SettingError(
                "limits contradict each other",
                expected=" <= ".join(names),
                got=" and ".join(str(value) for value in values),
            )
