"""Frame exchange with other peers over libp2p's TCP, Noise and Yamux; see ``docs/network.md``.

This package cannot import anything that holds training data, so no code here can send it.

The names below are imported on first use, so that an identity can be made without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.lazy import lazy_attributes

if TYPE_CHECKING:
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

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Handler": "gossipfl.network.serving",
        "Hearsay": "gossipfl.network.addresses",
        "Host": "gossipfl.network.host",
        "Identification": "gossipfl.network.identify",
        "Identity": "gossipfl.network.identity",
        "Knocks": "gossipfl.network.knocks",
        "NetworkCounters": "gossipfl.network.counters",
        "NetworkLimits": "gossipfl.network.limits",
        "PeerAddress": "gossipfl.network.addresses",
        "Renew": "gossipfl.network.exchanging",
        "Reservation": "gossipfl.network.memory",
        "RowMemory": "gossipfl.network.memory",
        "Scope": "gossipfl.network.addresses",
        "Screen": "gossipfl.network.serving",
        "SenderRates": "gossipfl.network.rates",
        "ServiceLimits": "gossipfl.network.service_streams",
        "ServiceStream": "gossipfl.network.service_streams",
        "ask_for_grant": "gossipfl.network.joining",
        "limited_logger": "gossipfl.network.log_limits",
        "load_identity": "gossipfl.network.identity",
        "load_or_create_identity": "gossipfl.network.identity",
        "open_host": "gossipfl.network.opening",
        "parse_address": "gossipfl.network.addresses",
        "ping": "gossipfl.network.pinging",
        "prefix_of": "gossipfl.network.addresses",
        "scope_of": "gossipfl.network.addresses",
    },
)
