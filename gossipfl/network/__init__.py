"""Frame exchange with other peers over libp2p's TCP, Noise and Yamux; see ``docs/network.md``.

This package cannot import anything that holds training data, so no code here can send it.
"""

from gossipfl.network.addresses import Hearsay, PeerAddress, Scope, parse_address, prefix_of, scope_of
from gossipfl.network.counters import NetworkCounters
from gossipfl.network.exchanging import Renew
from gossipfl.network.host import Host
from gossipfl.network.identify import Identification
from gossipfl.network.identity import Identity, load_identity, load_or_create_identity
from gossipfl.network.joining import ask_for_grant
from gossipfl.network.knocks import Knocks
from gossipfl.network.limits import NetworkLimits
from gossipfl.network.log_limits import limited_logger
from gossipfl.network.memory import Reservation, RowMemory
from gossipfl.network.opening import open_host
from gossipfl.network.pinging import ping
from gossipfl.network.rates import SenderRates
from gossipfl.network.service_streams import ServiceLimits, ServiceStream
from gossipfl.network.serving import Handler, Screen

__all__ = [
    "Handler",
    "Hearsay",
    "Host",
    "Identification",
    "Identity",
    "Knocks",
    "NetworkCounters",
    "NetworkLimits",
    "PeerAddress",
    "Renew",
    "Reservation",
    "RowMemory",
    "Scope",
    "Screen",
    "SenderRates",
    "ServiceLimits",
    "ServiceStream",
    "ask_for_grant",
    "limited_logger",
    "load_identity",
    "load_or_create_identity",
    "open_host",
    "parse_address",
    "ping",
    "prefix_of",
    "scope_of",
]
