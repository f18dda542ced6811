"""Peers behind routers that translate addresses, in namespaces: relayed, and then dialling each other."""

import pytest
import trio

from tests.interop.programs import running

from .namespaces import command_in, lab, needs_namespaces, two_behind_routers

pytestmark = [needs_namespaces, pytest.mark.slow]
PROGRAM = "tests.integration.nat_peer"


def test_two_peers_behind_nats_exchange_through_a_relay_and_then_directly():
    async def main():
        with trio.fail_after(280):
            await exchange_through_a_relay_and_then_directly()

    trio.run(main)


async def exchange_through_a_relay_and_then_directly():
    with lab() as network:
        relay_space, one_space, other_space = two_behind_routers(network)
        async with (
            running(*command_in(relay_space, PROGRAM, "4001", "relay")) as relay,
            running(*command_in(one_space, PROGRAM, "4001", "peer")) as one,
            running(*command_in(other_space, PROGRAM, "4001", "peer")) as other,
        ):
            [address] = relay.addresses
            for peer in (one, other):
                assert await peer.ask("reserve", peer=relay.peer_id, address=address) == {"reserved": True}
                assert await peer.ask("reachability", peer=relay.peer_id) == {"public": False}
                assert await relay.ask("reachability", peer=peer.peer_id) == {"public": True}
            # Neither can be dialled from outside.
            refused = await one.ask(
                "dial", peer=other.peer_id, address=f"/ip4/9.9.9.12/tcp/4001/p2p/{other.peer_id}"
            )
            assert "SwarmException" in refused["error"]

            circuit = f"{address}/p2p-circuit/p2p/{other.peer_id}"
            assert await one.ask("dial", peer=other.peer_id, address=circuit) == {"type": "relayed"}
            for this, that in ((one, other), (other, one)):
                assert await this.ask("exchange", peer=that.peer_id) == {"answer": "Acknowledgement"}

            # Both dial from the ports they listen at; their routers let in what crosses.
            assert await one.ask("punch", peer=other.peer_id) == {"punched": True}
            relay.kill()
            for this, that in ((one, other), (other, one)):
                await until_direct(this, that)
                assert await this.ask("exchange", peer=that.peer_id) == {"answer": "Acknowledgement"}


async def until_direct(this, that):
    """Wait until the relayed connection has gone with its relay."""
    while (await this.ask("connections", peer=that.peer_id))["types"] != ["direct"]:
        await trio.sleep(0.05)
