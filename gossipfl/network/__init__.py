"""Exchanges of frames with other peers, over libp2p's TCP, Noise and Yamux; see ``docs/network.md``.

Nothing in here can import what holds training data: that raw data never leaves is a property of the imports.
"""

from gossipfl.network.addresses import PeerAddress, parse_address
from gossipfl.network.counters import NetworkCounters
from gossipfl.network.host import Host, open_host
from gossipfl.network.identity import Identity, load_identity, load_or_create_identity
from gossipfl.network.libp2p_imports import quiet_library_logging
from gossipfl.network.limits import NetworkLimits
from gossipfl.network.serving import Handler, Screen

__all__ = [
    "Handler",
    "Host",
    "Identity",
    "NetworkCounters",
    "NetworkLimits",
    "PeerAddress",
    "Screen",
    "load_identity",
    "load_or_create_identity",
    "open_host",
    "parse_address",
    "quiet_library_logging",
]
