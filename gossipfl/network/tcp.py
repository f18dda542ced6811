"""The kernel's view of a TCP connection: the address of its other end, and its round-trip time."""

from __future__ import annotations

import socket
import sys
from typing import Final

import trio

from gossipfl.network.addresses import PeerAddress

__all__ = ["remote_endpoint", "round_trip"]

_ROUND_TRIP: Final = slice(68, 72)  # tcpi_rtt, in microseconds, in Linux's tcp_info


def remote_endpoint(stream: trio.SocketStream) -> PeerAddress | None:
    """Address of the other side's socket, or None if the connection is relayed, or gone."""
    try:
        host, port = stream.socket.getpeername()[:2]
    except (OSError, ValueError):
        return None
    host = str(host).partition("%")[0]
    return PeerAddress("ip6" if ":" in host else "ip4", host, int(port))


def round_trip(stream: trio.SocketStream) -> float | None:
    """Round-trip time as the kernel measures it, in seconds; None where it does not, or through a relay."""
    if sys.platform != "linux":
        return None
    try:
        info = stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ROUND_TRIP.stop)
    except (OSError, ValueError):
        return None
    return int.from_bytes(info[_ROUND_TRIP], sys.byteorder) / 1e6 or None
