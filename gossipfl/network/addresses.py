"""Multiaddresses of peers over TCP: ``/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...``.

References
----------
"Multiaddr", https://github.com/multiformats/multiaddr
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Final

from gossipfl.errors import InvalidAddress

__all__ = ["PeerAddress", "own_address", "parse_address"]

_FORM: Final = "/ip4|ip6|dns|dns4|dns6/HOST/tcp/PORT[/p2p/PEER_ID]"
_PATTERN: Final = re.compile(
    r"/(?P<family>ip4|ip6|dns|dns4|dns6)/(?P<host>[^/\s]{1,253})/tcp/(?P<port>\d{1,5})"
    r"(?:/p2p/(?P<peer_id>[1-9A-HJ-NP-Za-km-z]{1,100}))?"
)
# An address of the range for documentation: nothing is ever sent there.
_ELSEWHERE: Final = ("192.0.2.1", 9)


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where a peer listens, and perhaps who it is.

    Parameters
    ----------
    family : str
        ``ip4``, ``ip6``, ``dns``, ``dns4`` or ``dns6``.
    host : str
    port : int
        0, which lets the operating system choose, makes sense only for listening.
    peer_id : str or None
    """

    family: str
    host: str
    port: int
    peer_id: str | None = None

    def __str__(self) -> str:
        suffix = f"/p2p/{self.peer_id}" if self.peer_id else ""
        return f"/{self.family}/{self.host}/tcp/{self.port}{suffix}"


def parse_address(text: str) -> PeerAddress:
    """Read a multiaddress.

    Raises
    ------
    InvalidAddress
        It is none, or not one over TCP.
    """
    match = _PATTERN.fullmatch(text)
    if match is None or int(match["port"]) > 65535 or not _host_is_right(match["family"], match["host"]):
        raise InvalidAddress("this is no address of a peer", expected=_FORM, got=repr(text[:300]))
    return PeerAddress(match["family"], match["host"], int(match["port"]), match["peer_id"])


def own_address(family: str) -> str:
    """Return the address by which this machine is seen from its network, or else the loopback address."""
    kind, fallback = (socket.AF_INET, "127.0.0.1") if family == "ip4" else (socket.AF_INET6, "::1")
    if family != "ip4":
        return fallback
    with socket.socket(kind, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return fallback
        return str(probe.getsockname()[0])


def _host_is_right(family: str, host: str) -> bool:
    if family.startswith("dns"):
        return True
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return False
    return family == f"ip{version}"
