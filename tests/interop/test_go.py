"""go-libp2p: its hosts and ours dial each other, and exchange frames.

The binding closes a stream in both directions at once, so that an answer after a half-close is for the other
implementations to show.
"""

from gossipfl.network import ping
from gossipfl.network.identify import IDENTIFY_PROTOCOL, PUSH_PROTOCOL
from gossipfl.network.pinging import PING_PROTOCOL
from gossipfl.network.protocol import EXCHANGE_PROTOCOL
from gossipfl.wire import Acknowledgement, Clearance, encode
from tests.gossipfl.network.helpers import frame_bytes, in_trio, serving_host, until

from .frames import answer_with_row, row_frame
from .programs import in_go, needs_go

pytestmark = needs_go

LARGE = 2_000_000  # numbers in a row: 8 MB


@in_trio
async def test_a_client_in_go_gets_whole_large_rows(tmp_path):
    asked, reply = tmp_path / "asked", tmp_path / "reply"
    async with in_go() as client, serving_host(answer_with_row(LARGE), size=LARGE) as host:
        for sequence in range(1, 5):
            asked.write_bytes(frame_bytes(row_frame(LARGE, sequence=sequence, wants_answer=True)))
            await client.ask("exchange", address=host.addresses[0], frame=str(asked), reply=str(reply))
            assert reply.read_bytes() == frame_bytes(row_frame(LARGE, sequence=sequence))
        assert host.counters.connections_accepted == 1
        await until(lambda: host.counters.messages_sent == 4)
        assert not host.counters.refused


@in_trio
async def test_ours_starts_exchanges_with_a_listener_in_go(tmp_path):
    reply, clearance = tmp_path / "reply", tmp_path / "clearance"
    reply.write_bytes(frame_bytes(encode(Acknowledgement(incarnation=1, sequence=1))))
    clearance.write_bytes(frame_bytes(encode(Clearance(retry_after=0))))
    async with in_go() as listener, serving_host(size=LARGE) as host:
        await listener.ask("listen", reply=str(reply), clearance=str(clearance))
        for sequence in range(1, 4):
            pushed = row_frame(LARGE, sequence=sequence)
            answer = await host.exchange(listener.peer_id, listener.addresses, pushed)
            assert answer == Acknowledgement(incarnation=1, sequence=1)
        assert host.counters.connections_dialled == 1


@in_trio
async def test_go_agrees_on_our_protocol_and_is_refused_what_is_not_spoken():
    async with in_go() as client, serving_host() as host:
        address = host.addresses[0]
        assert "error" not in await client.ask("negotiate", address=address, protocol=EXCHANGE_PROTOCOL)
        refused = await client.ask("negotiate", address=address, protocol="/ipfs/bitswap/1.2.0")
        assert "protocol not supported" in refused["error"]
        assert host.connected() == {client.peer_id}
        assert not host.counters.refused


@in_trio
async def test_go_identifies_and_pings_ours_and_is_identified_and_pinged():
    async with in_go() as other, serving_host() as host:
        assert len((await other.ask("ping", address=host.addresses[0], times=3))["nanoseconds"]) == 3
        said = await host.identify.ask(other.peer_id)
        assert said.agent
        assert {IDENTIFY_PROTOCOL, PUSH_PROTOCOL, PING_PROTOCOL, EXCHANGE_PROTOCOL} <= set(said.protocols)
        assert [f"{each}/p2p/{other.peer_id}" for each in said.addresses] == other.addresses
        assert await ping(host.services, other.peer_id) > 0
        assert not host.counters.refused
