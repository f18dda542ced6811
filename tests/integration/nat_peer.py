"""A peer's host with py-libp2p's relays and hole punching, as a program for a network namespace.

It takes one request a line and gives one answer a line, as those of ``tests/interop`` do.
"""

import json
import logging
import sys
from contextlib import AsyncExitStack

import trio
from libp2p.host.autonat.autonat import AutoNATService, AutoNATStatus
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.relay.circuit_v2.config import RelayConfig, RelayRole
from libp2p.relay.circuit_v2.dcutr import DCUtRProtocol
from libp2p.relay.circuit_v2.protocol import CircuitV2Protocol
from libp2p.relay.circuit_v2.transport import CircuitV2Transport
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from gossipfl.network import Identity, ServiceLimits
from gossipfl.network.libp2p import AutoNATHost, open_library_host
from tests.gossipfl.network.helpers import model_frame, serving_host

HOP = "/libp2p/circuit/relay/0.2.0/hop"
PUBLIC = AutoNATStatus.PUBLIC
LIMITS = ServiceLimits(bytes=2**30, bytes_per_second=1e8, seconds=3600.0)


class NatPeer:
    """What can be asked of the host."""

    def __init__(self, host, library, transport, dcutr):
        self.host, self.library, self.transport, self.dcutr = host, library, transport, dcutr
        self.autonat = AutoNATService(AutoNATHost(library, host), confirmations=1)

    async def reserve(self, peer, address):
        """Have a relay connect others to this host."""
        relay = ID.from_base58(peer)
        await self.library.connect(PeerInfo(relay, [Multiaddr(address)]))
        stream = await self.library.new_stream(relay, [HOP])
        reserved = await self.transport._make_reservation(stream, relay)
        await stream.close()
        return {"reserved": reserved}

    async def dial(self, peer, address):
        """Dial an address, or one through a relay."""
        if "p2p-circuit" in address:
            connection = await self.transport.dial(Multiaddr(address))
            return {"type": connection.get_connection_type().value}
        connection = await self.library.get_network().dial_addr(Multiaddr(address), ID.from_base58(peer))
        return {"type": connection.get_connection_type().value}

    async def exchange(self, peer):
        """Exchange a frame over a connection that is there."""
        return {"answer": type(await self.host.exchange(peer, [], model_frame())).__name__}

    async def punch(self, peer):
        """Have both sides dial each other."""
        return {"punched": await self.dcutr.initiate_hole_punch(ID.from_base58(peer))}

    async def reachability(self, peer):
        """Have a connected peer say whether this host can be dialled."""
        return {"public": await self.autonat.check_reachability([ID.from_base58(peer)]) == PUBLIC}

    async def connections(self, peer):
        """Say how this host is connected to a peer, and how the connection used next is."""
        known = self.library.get_network().get_connections(ID.from_base58(peer))
        return {"types": [each.get_connection_type().value for each in known]}

    async def addresses(self):
        """Say where this host is reached, in its own view and the library's."""
        return {"own": list(self.host.addresses), "library": [str(each) for each in self.library.get_addrs()]}


async def main(port, *, is_relay):
    """Serve requests until standard input ends."""
    identity = Identity.generate()
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(
            serving_host(identity=identity, listen=[f"/ip4/0.0.0.0/tcp/{port}"])
        )
        library = await stack.enter_async_context(open_library_host(host, identity, limits=LIMITS))
        protocol = CircuitV2Protocol(library, allow_hop=is_relay)
        await stack.enter_async_context(background_trio_service(protocol))
        await protocol.event_started.wait()
        dcutr = DCUtRProtocol(library)
        await stack.enter_async_context(background_trio_service(dcutr))
        transport = CircuitV2Transport(
            library, protocol, RelayConfig(roles=RelayRole.STOP | RelayRole.CLIENT)
        )
        peer = NatPeer(host, library, transport, dcutr)
        tell({"id": host.peer_id, "addresses": list(host.addresses)})
        async for line in trio.wrap_file(sys.stdin):
            request = json.loads(line)
            try:
                tell(await getattr(peer, request.pop("do"))(**request))
            except Exception as error:
                tell({"error": f"{type(error).__name__}: {error}"})


def tell(answer):
    """Write an answer as a line."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=sys.argv[3] if len(sys.argv) > 3 else "ERROR")
    trio.run(lambda: main(int(sys.argv[1]), is_relay=sys.argv[2] == "relay"))
