"""The library's host as its AutoNAT service needs it: one that dials even where there is a connection."""

from __future__ import annotations

from typing import Any

from libp2p.abc import IHost
from libp2p.network.exceptions import SwarmException
from libp2p.peer.peerinfo import PeerInfo

from gossipfl.errors import GossipflError, InvalidAddress
from gossipfl.network.addresses import Hearsay, parse_address
from gossipfl.network.dial_back import DialBackAllowance
from gossipfl.network.host import Host
from gossipfl.network.libp2p.host import LibraryHost

__all__ = ["AutoNATHost"]


class AutoNATHost:
    """A library host whose `connect` always dials, and hangs up once the identity is proved.

    ``AutoNATService`` dials back with `connect`, which on other hosts succeeds without a dial, because the
    question came over a connection. Here it dials nothing but addresses with the IP address of such a connection,
    each of these at most once in 5 s, and once a second in all, after bursts of four. So nobody can use this host
    to reach others, or to reach itself often.

    Parameters
    ----------
    host : Host
        The host underneath the library's.
    """

    def __init__(self, library: LibraryHost, host: Host) -> None:
        self._library = library
        self._host = host
        self._allowance = DialBackAllowance()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the library's host has
        return getattr(self._library, name)

    async def connect(self, peer_info: PeerInfo) -> None:
        """Dial a connected peer anew at the first of its addresses that may be dialled.

        Raises
        ------
        SwarmException
            No address has the IP address that the peer is connected from, there were too many dials, or the peer
            does not answer there.
        """
        peer_id = str(peer_info.peer_id)
        endpoints = [each.remote_endpoint for each in self._host.connections.of_peer(peer_id)]
        connected_from = {each.host: each.scope for each in endpoints if each is not None}
        for each in peer_info.addrs:
            try:
                address = parse_address(str(each), smallest_port=1)
            except InvalidAddress:
                continue
            if address.host not in connected_from:
                continue
            if not self._allowance.take(address.host):
                raise SwarmException("there were too many questions whether a peer can be dialled")
            try:
                await self._host.probe(peer_id, [Hearsay(str(address), connected_from[address.host])])
            except GossipflError as error:
                raise SwarmException(str(error)) from error
            return
        raise SwarmException("no address has the IP address that the peer is connected from")


IHost.register(AutoNATHost)
