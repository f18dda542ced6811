"""js-libp2p: its hosts and ours dial each other, and a client of the wire protocol in JavaScript is served."""

import hashlib

import torch

from gossipfl.network import ping
from gossipfl.network.protocol import EXCHANGE_PROTOCOL
from gossipfl.peer import Peer
from gossipfl.wire import Acknowledgement, ModelMessage
from tests.gossipfl.network.helpers import (
    LAYOUT,
    TASK,
    in_trio,
    model_frame,
    serving_host,
    until,
)
from tests.integration.peers import quick_settings, running

from .frames import answer_with_row, row_frame, row_of
from .programs import in_javascript, needs_javascript

pytestmark = needs_javascript

LARGE = 2_000_000  # numbers in a row: 8 MB
NAMES = {"task": TASK.hex(), "layout": LAYOUT.hex()}


@in_trio
async def test_a_client_in_javascript_gets_whole_large_rows_after_a_half_close():
    row = row_of(LARGE)
    async with in_javascript() as client, serving_host(answer_with_row(LARGE), size=LARGE) as host:
        for sequence in range(1, 7):
            answer = await client.ask(
                "exchange",
                address=host.addresses[0],
                **NAMES,
                size=LARGE,
                value=0,
                age=0,
                sequence=sequence,
                wantsAnswer=True,
                halfClose=sequence % 2 == 0,
            )
            [reply] = answer["replies"]
            assert (reply["kind"], reply["fields"]["sequence"]) == (1, sequence)
            assert reply["body"] == hashlib.sha256(row.numpy().tobytes()).hexdigest()
        assert host.counters.connections_accepted == 1
        await until(lambda: host.counters.messages_sent == 6)
        assert not host.counters.refused


@in_trio
async def test_a_client_in_javascript_fetches_a_peers_model_and_pushes_its_own(tmp_path):
    peer = Peer(tmp_path / "peer", settings=quick_settings(0))
    async with running(peer), in_javascript() as client:
        layout = peer.task.layout
        common = {
            "address": peer.status().addresses[0],
            "task": peer.task.fingerprint.hex(),
            "layout": layout.digest.hex(),
            "size": layout.size,
            "value": 0,
            "halfClose": True,
        }
        await until(lambda: peer._incarnation.learner.state.age > 0)
        for fetched in (
            await client.ask("fetch", **{key: common[key] for key in ("address", "task", "layout")}),
            await client.ask("exchange", **common, age=0, sequence=1, wantsAnswer=True),
        ):
            assert fetched["replies"][0]["kind"] == 1
            assert fetched["replies"][0]["fields"]["age"] > 0
        pushed = await client.ask("exchange", **common, age=0, sequence=2, wantsAnswer=False)
        assert pushed["replies"][0]["kind"] == 2
        again = await client.ask("exchange", **common, age=0, sequence=1, wantsAnswer=False)
        assert again["replies"][0]["fields"]["code"] == "replayed_message"
        await client.ask(
            "exchange", **{**common, "task": bytes(32).hex()}, age=0, sequence=3, wantsAnswer=False
        )
        assert peer.counters.refused == {"replayed_message": 1, "incompatible_task": 1}


@in_trio
async def test_ours_starts_exchanges_with_a_listener_in_javascript():
    async with in_javascript() as listener, serving_host(size=LARGE) as host:
        for sequence in range(1, 4):
            pushed = model_frame(LARGE, sequence=sequence)
            reply = await host.exchange(listener.peer_id, listener.addresses, pushed)
            assert reply == Acknowledgement(incarnation=1, sequence=sequence)
        asking = row_frame(LARGE, sequence=4, wants_answer=True)
        reply = await host.exchange(listener.peer_id, listener.addresses, asking)
        assert isinstance(reply, ModelMessage)
        assert torch.equal(reply.row, row_of(LARGE))
        assert host.counters.connections_dialled == 1


@in_trio
async def test_javascript_agrees_on_noise_and_yamux_and_is_refused_what_is_not_spoken():
    async with in_javascript() as client, serving_host() as host:
        address = host.addresses[0]
        assert await client.ask("dial", address=address) == {
            "remote": host.peer_id,
            "encryption": "/noise",
            "multiplexer": "/yamux/1.0.0",
        }
        assert await client.ask("negotiate", address=address, protocol=EXCHANGE_PROTOCOL) == {
            "protocol": EXCHANGE_PROTOCOL
        }
        refused = await client.ask("negotiate", address=address, protocol="/ipfs/bitswap/1.2.0")
        assert refused["error"].startswith("UnsupportedProtocolError")
        assert host.connected() == {client.peer_id}
        assert not host.counters.refused


@in_trio
async def test_javascript_identifies_and_pings_ours_and_is_identified_and_pinged():
    async with in_javascript() as other, serving_host() as host:
        found = await other.ask("identify", address=host.addresses[0])
        assert found["agent"] == "gossipfl"
        assert EXCHANGE_PROTOCOL in found["protocols"]
        assert [f"{each}/p2p/{host.peer_id}" for each in found["addresses"]] == list(host.addresses)
        assert found["observed"].startswith("/ip4/127.0.0.1/tcp/")
        assert (await other.ask("ping", address=host.addresses[0]))["milliseconds"] >= 0

        said = await host.identify.ask(other.peer_id)
        assert said.agent.startswith("js-libp2p/3.3.11")
        assert EXCHANGE_PROTOCOL in said.protocols
        assert [f"{each}/p2p/{other.peer_id}" for each in said.addresses] == other.addresses
        assert await ping(host.services, other.peer_id) > 0
        assert not host.counters.refused
